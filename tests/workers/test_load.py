"""`underpass load --workers`: one client on every queue, whose figures are those of all together."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.readable import web_root
from tests.workers.test_queues import told

from underpass.apps.bench.servers import Nginx
from underpass.apps.histogram import LatencyHistogram
from underpass.apps.load_worker import results_of
from underpass.cli import main
from underpass.linux.namespaces import Pair

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    root = web_root(tmp_path)
    with Pair(queues=2) as pair:
        yield Nginx(pair, root, tmp_path, None)


@needs_root
def test_every_worker_asks_and_every_answer_counts(nginx: Nginx, tmp_path: Path) -> None:
    client = nginx.pair.client
    with (tmp_path / "load").open("w+") as output:
        load = client.start("underpass", "load", nginx.url(""), "-i", client.interface, "-c", "60", "-d", "3",
                            "--workers", "2", "--json", output=output)
        seen: dict[int, int] = {}
        while load.poll() is None:
            for pid in client.children(load):
                try:
                    seen[pid] = max(seen.get(pid, 0), *told(pid, "active_opens"))
                except (KeyError, OSError):
                    continue                    # it has no arena yet, or no longer
        output.seek(0)
        text = output.read()
        result = json.loads(text[text.index("{"):])
    assert load.returncode == 0
    assert sorted(seen.values()) == [30, 30]
    assert result["connections"] == 60
    assert result["status"] == {"2xx": result["requests"]}
    assert result["errors"] == {}
    assert result["latency_ns"]["count"] == result["requests"] > 100
    assert result["connect_ns"]["count"] == 60
    assert "xdp" not in client.run("ip", "link", "show", client.interface).stdout
    assert client.run("sysctl", "-n", "net.ipv4.ip_local_reserved_ports").stdout.strip() == ""


@pytest.mark.parametrize("words", [["-n", "10"], ["-o", "body"]])
def test_what_cannot_be_shared_out_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["load", "http://192.0.2.1/", "-i", "lo", "--workers", "2", *words])
    assert "ends by its duration" in capsys.readouterr().err


def test_more_workers_than_connections_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["load", "http://192.0.2.1/", "-i", "lo", "--workers", "3", "-c", "2"])
    assert "3 --workers need as many connections" in capsys.readouterr().err


def test_tallies_add_up() -> None:
    one = {"load": {"requests": 3, "bytes": 30, "connections": 2, "ns": 2 * 10**9, "clients": 1},
           "status": {"2xx": 2, "4xx": 1}, "errors": {"reset": 1},
           "latency_ns": {"total": 600, "100": 2, "250": 1}, "connect_ns": {"total": 7, "7": 1}}
    both = {layer: {name: 2 * value for name, value in values.items()} for layer, values in one.items()}
    result = results_of(both)
    assert (result["requests"], result["seconds"], result["requests_per_s"]) == (6, 2, 3)
    assert (result["status"], result["errors"]) == ({"2xx": 4, "4xx": 2}, {"reset": 2})
    latency = result["latency_ns"]
    assert (latency["count"], latency["min"], latency["p50"], latency["max"]) == (6, 100, 100, 250)
    assert latency["mean"] == 200
    assert results_of({})["requests"] == 0


def test_a_histogram_is_made_again_to_within_its_precision() -> None:
    values = [1, 255, 256, 1000, 10**6, 10**9, 2**39]
    made = LatencyHistogram()
    for value in values:
        made.record(value)
    again, before = LatencyHistogram.of(made.tally()).summary(), made.summary()
    assert (again["count"], again["mean"]) == (before["count"], before["mean"])
    assert again == pytest.approx(before, rel=0.008)
    with pytest.raises(ValueError, match="none at 4352"):
        LatencyHistogram.of({"4352": 1})
    assert LatencyHistogram.of({"total": 0}).summary() == LatencyHistogram().summary()
