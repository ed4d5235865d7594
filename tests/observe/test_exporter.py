"""The exporter, asked over real sockets: by those who ask well, slowly, and not at all."""

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from underpass.observe.exporter import Exporter
from underpass.observe.names import COUNTERS
from underpass.observe.sample import Sample, Samples
from underpass.observe.workers import Worker

prometheus = pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")

SAMPLE = Sample(Worker(42, "underpass serve", "/proc/42/fd/3", 7), 3_000_000_000,
                {"interface": "eth0", "kernel_ns": 1_000_000_000, "now_ns": 1},
                {layer: {name: at for at, name in enumerate(names)} for layer, names in COUNTERS.items()},
                {"ESTABLISHED": 5, "LISTEN": 1}, cpu_s=1.5)


@pytest.fixture
def serve() -> Iterator[Callable[..., Exporter]]:
    """Starts exporters of a text, and ends them."""
    running = []

    def start(text: Callable[[str], tuple[str, bytes]] = lambda _: ("text/plain", b"it\n"),
              address: str = "127.0.0.1", **limits: float) -> Exporter:
        exporter = Exporter((address, 0), text, **limits)      # type: ignore[arg-type]
        thread = threading.Thread(target=exporter.serve_forever, args=(0.01,))
        thread.start()
        running.append((exporter, thread))
        return exporter

    yield start
    for exporter, thread in running:
        exporter.shutdown()
        thread.join()
        exporter.server_close()


def get(exporter: Exporter, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body of an answer."""
    connection = http.client.HTTPConnection(*exporter.server_address[:2], timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def collector(looks: list[int] | None = None) -> "prometheus.CollectorRegistry":
    """A registry of one worker, and how often it was looked at."""
    from underpass.observe.prometheus import WorkerCollector

    def look() -> Samples:
        if looks is not None:
            looks.append(1)
        return {7: SAMPLE}

    registry = prometheus.CollectorRegistry()
    registry.register(WorkerCollector(look))
    return registry


def test_metrics_over_http(serve: Callable[..., Exporter]) -> None:
    registry = collector()
    exporter = serve(lambda _: (prometheus.CONTENT_TYPE_LATEST, prometheus.generate_latest(registry)))
    status, kind, body = get(exporter)
    assert status == 200
    assert kind.startswith("text/plain; version=")
    lines = body.splitlines()
    who = 'interface="eth0",pid="42"'
    redirected = float(COUNTERS["xdp"].index("redirected_flow"))
    for line in (
        f'underpass_worker{{command="underpass serve",{who}}} 1.0',
        f"underpass_cpu_seconds_total{{{who}}} 1.5",
        f'underpass_connections{{{who},state="established"}} 5.0',
        f'underpass_refused_total{{{who},reason="ethernet_short"}} 0.0',
        f'underpass_xdp_packets_total{{{who},result="redirected_flow"}} {redirected}',
        f'underpass_socket_total{{{who},reason="rx_ring_full"}} 3.0',
        f"underpass_link_rx_bytes_total{{{who}}} 1.0", f"underpass_frames_free{{{who}}} 1.0",
        f"underpass_tcp_segments_out_total{{{who}}} 1.0", f"underpass_loop_sleeps_total{{{who}}} 1.0",
        f"underpass_kernel_counters_age_seconds{{{who}}} 2.0",
    ):
        assert line in lines
    assert "# TYPE underpass_tcp_retransmits_total counter" in lines
    assert "# TYPE underpass_frames gauge" in lines


def test_every_counter_is_exposed_once() -> None:
    text = prometheus.generate_latest(collector()).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples)) == sum(map(len, COUNTERS.values())) - 2 + 2 + 1 + 1 + 1
    # but connections and time_waits, which are states; and the worker, its processor time, the counters' age


def test_many_who_ask_cost_one_look() -> None:
    looks: list[int] = []
    registry = collector(looks)
    for _ in range(5):
        prometheus.generate_latest(registry)
    assert len(looks) == 1


def test_a_worker_without_kernel_counters_has_none() -> None:
    from underpass.observe.prometheus import WorkerCollector

    bare = replace(SAMPLE, facts=SAMPLE.facts | {"kernel_ns": 0},
                   stats={"tcp": SAMPLE.stats["tcp"], "link": SAMPLE.stats["link"]})
    names = {one.name for family in WorkerCollector(lambda: {7: bare}).collect() for one in family.samples}
    assert "underpass_tcp_segments_in_total" in names
    assert not [name for name in names if "xdp" in name or "kernel" in name or "underpass_frames" in name]


def test_paths_and_methods(serve: Callable[..., Exporter]) -> None:
    exporter = serve()
    assert get(exporter, "/metrics?x=1")[::2] == (200, "it\n")
    assert "/metrics" in get(exporter, "/")[2]
    assert get(exporter, "/etc/passwd")[0] == 404
    assert get(exporter, method="HEAD")[::2] == (200, "")
    assert get(exporter, method="POST")[0] == 501


def test_ipv6(serve: Callable[..., Exporter]) -> None:
    assert get(serve(address="::1"))[0] == 200


def dial(exporter: Exporter) -> socket.socket:
    return socket.create_connection(exporter.server_address[:2], timeout=20)


def test_who_says_nothing_is_sent_away(serve: Callable[..., Exporter]) -> None:
    exporter = serve(time_s=0.3)
    with dial(exporter) as silent:
        assert silent.recv(100) == b""


def test_who_speaks_slowly_is_sent_away_though_never_silent(serve: Callable[..., Exporter]) -> None:
    """Each octet comes within any time limit of a single read: the limit is on the whole."""
    exporter = serve(time_s=0.5)
    with dial(exporter) as slow:
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + 20:
                slow.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() < began + 15


def test_who_does_not_read_the_answer_is_sent_away(serve: Callable[..., Exporter]) -> None:
    exporter = serve(lambda _: ("text/plain", b"x" * 50_000_000), time_s=0.5, at_once=1)
    with dial(exporter) as deaf:
        deaf.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        end = time.monotonic() + 20
        while time.monotonic() < end:           # its place becomes free while it still does not read
            try:
                assert get(exporter, "/")[0] == 200
                break
            except OSError:
                time.sleep(0.05)
        else:
            pytest.fail("the place of one who does not read never became free")


def test_more_than_there_are_places_for_are_closed_at_once(serve: Callable[..., Exporter]) -> None:
    exporter = serve(at_once=2)
    with dial(exporter) as one, dial(exporter) as two:
        with dial(exporter) as three:
            assert three.recv(100) == b""
        assert exporter.turned_away == 1
        for waiting in (one, two):
            waiting.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert re.match(rb"HTTP/1\.0 200 ", waiting.recv(100))


def test_nonsense_is_answered_and_forgotten(serve: Callable[..., Exporter],
                                            capfd: pytest.CaptureFixture[str]) -> None:
    exporter = serve()
    for octets in (b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                   b"GET /" + b"x" * 70_000 + b"\r\n\r\n", b""):
        with dial(exporter) as client:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
            client.recv(1000)
    assert get(exporter)[0] == 200
    assert capfd.readouterr().err == ""
