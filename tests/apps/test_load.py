"""The load generator against a small server on the virtual network, on a virtual clock."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from underpass.apps.load import LoadClient
from underpass.stack.sockets import Connection
from underpass.stack.stack import ACCEPTED, READABLE, WRITABLE
from underpass.testing.host import Host
from underpass.testing.network import Network

MS = 1_000_000
SECOND = 1000 * MS
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Answerer = Callable[[Connection, int], bytes]


class HttpServer:
    """Answers each request whole, by `answer(conn, number)`; counts connections."""

    def __init__(self, host: Host, answer: Answerer) -> None:
        self.answer = answer
        self.accepted = 0
        self.asked = 0
        self.received: dict[Connection, bytes] = {}
        self.listener = host.stack.listen(("0.0.0.0", 80))
        host.application = self.on_event

    def on_event(self, conn: Connection, ready: int) -> None:
        if ready & ACCEPTED:
            self.accepted += 1
            self.received[conn] = b""       # a connection that nobody holds is closed
        if not ready & READABLE:
            return
        octets = conn.recv()
        if not octets:
            conn.close()
            self.received.pop(conn, None)
            return
        self.received[conn] += octets
        while b"\r\n\r\n" in self.received[conn]:
            _, _, self.received[conn] = self.received[conn].partition(b"\r\n\r\n")
            self.asked += 1
            answer = self.answer(conn, self.asked)
            if answer:
                with suppress(ConnectionError):     # who asked may have gone
                    conn.send(answer)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(seed=1) as it:
        yield it


def finish(network: Network, client: LoadClient) -> None:
    """Run until the load is over."""
    assert network.run(until=lambda: client.over, for_ns=100 * SECOND)


def test_closed_loop_answers_one_by_one_and_counts_the_round_trip(network: Network) -> None:
    here, there = network.pair(latency_ns=5 * MS)
    server = HttpServer(there, lambda conn, number: ANSWER)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=3, duration_s=0, requests=30)
    finish(network, client)
    results = client.results()
    assert (results["requests"], results["errors"], results["status"]) == (30, {}, {"2xx": 30})
    assert (server.accepted, server.asked) == (3, 30)
    # There and back on a cable of 5 ms, whatever else happens.
    assert 10 * MS <= results["latency_ns"]["min"] <= results["latency_ns"]["max"] < 12 * MS
    assert results["bytes"] == 30 * len(ANSWER)


def test_a_connection_for_each_request(network: Network) -> None:
    here, there = network.pair(latency_ns=1 * MS)
    server = HttpServer(there, lambda conn, number: ANSWER)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=4, duration_s=0, requests=20,
                        keep_alive=False)
    finish(network, client)
    assert (client.results()["requests"], server.accepted) == (20, 20)
    # The handshake belongs to the latency: two round trips of 2 ms.
    assert client.results()["latency_ns"]["min"] >= 4 * MS


def test_the_duration_ends_it(network: Network) -> None:
    here, there = network.pair(latency_ns=10 * MS)
    HttpServer(there, lambda conn, number: ANSWER)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=1, duration_s=1)
    finish(network, client)
    # 20 ms for the handshake, and 20 ms a request.
    assert client.results()["requests"] == 48 or client.results()["requests"] == 49
    assert client.results()["seconds"] == pytest.approx(1, abs=0.01)


def test_open_loop_keeps_its_schedule(network: Network) -> None:
    here, there = network.pair(latency_ns=MS // 10)
    HttpServer(there, lambda conn, number: ANSWER)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=5, duration_s=2, rate=100)
    finish(network, client)
    assert 195 <= client.results()["requests"] <= 200
    # The first waits for its connection; the others find one.
    assert client.results()["latency_ns"]["p50"] < MS


def test_open_loop_counts_a_stall_for_every_request_that_it_delayed(network: Network) -> None:
    """No coordinated omission: a server that pauses 500 ms delays all that were due meanwhile."""
    here, there = network.pair(latency_ns=MS // 10)
    pause: list[Connection] = []

    def answer(conn: Connection, number: int) -> bytes:
        if number == 100:
            pause.append(conn)
            return b""
        return ANSWER

    HttpServer(there, answer)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=1, duration_s=2, rate=100)
    assert network.run(until=lambda: bool(pause), for_ns=10 * SECOND)
    network.run(for_ns=SECOND // 2)
    pause[0].send(ANSWER)
    finish(network, client)
    # About 50 were due during the pause, one in 10 ms: their latencies spread evenly up to it.
    latency = client.results()["latency_ns"]
    assert 490 * MS < latency["max"] < 520 * MS
    assert latency["p90"] > 200 * MS


def test_a_server_that_refuses_is_said_at_once(network: Network) -> None:
    here, there = network.pair()
    client = LoadClient(here.stack, there.station.v4, 81, REQUEST, connections=2, duration_s=10)
    finish(network, client)
    assert client.results()["requests"] == 0
    assert client.results()["errors"] == {"refused": 2}
    assert client.results()["seconds"] < 1


@pytest.mark.parametrize(("answer", "kind"), [
    (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "malformed"), (b"220 ready\r\n", "malformed"),
])
def test_what_is_no_answer_is_an_error(network: Network, answer: bytes, kind: str) -> None:
    here, there = network.pair()
    HttpServer(there, lambda conn, number: answer)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=1, duration_s=0, requests=3)
    finish(network, client)
    assert client.results()["errors"] == {kind: 3}


def test_an_answer_cut_off_is_an_error_and_the_load_goes_on(network: Network) -> None:
    here, there = network.pair()

    def answer(conn: Connection, number: int) -> bytes:
        if number == 2:
            conn.send(ANSWER[:-2])
            conn.shutdown()
            return b""
        return ANSWER

    HttpServer(there, answer)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=1, duration_s=0, requests=5)
    finish(network, client)
    assert (client.results()["requests"], client.results()["errors"]) == (4, {"cut off": 1})


def test_a_reset_is_an_error_and_the_load_goes_on(network: Network) -> None:
    here, there = network.pair()

    def answer(conn: Connection, number: int) -> bytes:
        if number == 2:
            conn.abort()
            return b""
        return ANSWER

    HttpServer(there, answer)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=1, duration_s=0, requests=5)
    finish(network, client)
    assert (client.results()["requests"], client.results()["errors"]) == (4, {"reset": 1})


def test_a_server_that_never_answers_runs_into_the_time_limit(network: Network) -> None:
    here, there = network.pair()
    HttpServer(there, lambda conn, number: b"")
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=2, duration_s=0, requests=2,
                        timeout_s=1)
    finish(network, client)
    assert client.results()["errors"] == {"timeout": 2}
    assert 1 <= client.results()["seconds"] < 2


def test_a_server_that_closes_after_each_answer_is_asked_again_on_a_new_connection(network: Network) -> None:
    here, there = network.pair()
    closing = ANSWER.replace(b"Content", b"Connection: close\r\nContent")

    def answer(conn: Connection, number: int) -> bytes:
        conn.send(closing)
        conn.shutdown()
        return b""

    server = HttpServer(there, answer)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=2, duration_s=0, requests=10)
    finish(network, client)
    assert (client.results()["requests"], client.results()["errors"], server.accepted) == (10, {}, 10)


def test_a_body_is_written_out_whole(network: Network, tmp_path: os.PathLike[str]) -> None:
    here, there = network.pair(latency_ns=MS)
    body = os.urandom(300_000)
    rest: dict[Connection, bytes] = {}

    def answer(conn: Connection, number: int) -> bytes:
        octets = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        rest[conn] = octets[conn.send(octets):]
        return b""

    server = HttpServer(there, answer)

    def on_event(conn: Connection, ready: int) -> None:
        server.on_event(conn, ready)
        if rest.get(conn) and ready & WRITABLE:
            rest[conn] = rest[conn][conn.send(rest[conn]):]

    there.application = on_event
    path = os.path.join(tmp_path, "body")
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=1, duration_s=0, requests=1,
                        output=descriptor)
    finish(network, client)
    os.close(descriptor)
    with open(path, "rb") as file:
        assert file.read() == body


def test_nothing_is_left_in_the_stack(network: Network) -> None:
    here, there = network.pair(latency_ns=MS, limits={"time_wait_ms": 1000})
    HttpServer(there, lambda conn, number: ANSWER)
    client = LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=8, duration_s=0.1)
    finish(network, client)
    client.close()
    network.run(for_ns=100 * SECOND)
    assert here.is_idle()


def test_more_connections_than_the_stack_holds_are_refused_in_one_line(network: Network) -> None:
    here, there = network.pair(limits={"connections": 10})
    with pytest.raises(ValueError, match=r"11 connections; this stack has room for 1 to 10"):
        LoadClient(here.stack, there.station.v4, 80, REQUEST, connections=11)


def test_a_load_without_an_end_is_refused(network: Network) -> None:
    here, there = network.pair()
    with pytest.raises(ValueError, match="ends by its duration or by its number of requests"):
        LoadClient(here.stack, there.station.v4, 80, REQUEST, duration_s=0)
