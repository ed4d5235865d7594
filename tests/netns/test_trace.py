"""`underpass trace` beside `underpass serve` on a real veth pair, from outside its namespace."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.bench.servers import Underpass
from underpass.linux.control_socket import ControlClient, control_sockets
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Underpass]:
    scratch = tmp_path_factory.mktemp("traced")
    (scratch / "root").mkdir()
    (scratch / "root" / "file").write_bytes(b"x" * 2_000_000)
    with Pair() as pair:
        server = Underpass(pair, scratch / "root", scratch, None)
        yield server
        assert server.stop() == 0


def command(served: Underpass, *words: str) -> list[str]:
    return [sys.executable, "-m", "underpass.cli", "trace", "--pid", str(served.process.pid), *words]


@contextlib.contextmanager
def tracing(served: Underpass, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A running trace, from the moment at which it waits for its connection."""
    with subprocess.Popen(command(served, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "following the connection, or waiting for it\n"
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    out, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    return out.splitlines(), said


def get(served: Underpass, *words: str) -> None:
    said = served.pair.client.run("curl", "-sS", "--max-time", "20", "-o", "/dev/null",
                                  "-w", "%{size_download}", *words, served.url("file"))
    assert said.stdout == "2000000"


def is_traced(served: Underpass) -> bool:
    """Whether the worker refuses another trace."""
    ((_, path),) = control_sockets(served.process.pid)
    with ControlClient(path) as client:
        try:
            _, descriptors = client.ask("trace")
        except OSError as error:
            assert "traces a connection already" in str(error)
            return True
    for descriptor in descriptors:
        os.close(descriptor)
    return False


def test_a_download_is_told_from_syn_to_end(served: Underpass) -> None:
    with tracing(served, "--local-port", "80", "-d", "20") as process:
        get(served)
        lines, said = finished(process)
    server, client = served.pair.server, served.pair.client
    assert re.fullmatch(rf"{re.escape(server.address)}:80 <-> {re.escape(client.address)}:\d+ on "
                        rf"{server.interface} \(worker {served.process.pid}\), cubic", lines[0])
    assert re.fullmatch(r" +0\.000000  SYN-RECEIVED, mss 1448, .*", lines[1])
    steps = re.findall(r"([A-Z0-9-]+) -> ([A-Z0-9-]+)\b(?!\d)", "\n".join(lines))
    states = [after for before, after in steps if not before.isdigit() and not after.isdigit()]
    assert states[0] == "ESTABLISHED" and states[-1] in ("CLOSED", "TIME-WAIT")
    assert any(re.search(r"cwnd \d+ -> \d+", line) for line in lines)
    assert any("rtt " in line and "srtt " in line for line in lines)
    assert lines[-1].endswith("ended")
    assert re.fullmatch(r"\d+ records, 0 dropped because this program was too slow\n", said)


def test_a_connection_that_is_there_is_followed_and_drawn(served: Underpass, tmp_path: Path) -> None:
    picture = tmp_path / "trace.png"
    with inside(served.pair.client.name), served_connection(served) as client:
        address, port = client.getsockname()
        with tracing(served, f"{address}:{port}", "--json", "--plot", str(picture)) as process:
            client.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while client.recv(1 << 16):
                pass
            client.close()
            lines, _ = finished(process)
    rows = [json.loads(line) for line in lines]
    assert rows[0]["event"] == "began" and rows[0]["state"] == "ESTABLISHED"
    assert {(row["remote"], row["remote_port"], row["pid"]) for row in rows} == {
        (address, port, served.process.pid)}
    assert rows[-1]["event"] == "ended" and rows[-1]["snd_una"] > 2_000_000
    assert max(row["in_flight"] for row in rows) <= max(row["cwnd"] for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")


def served_connection(served: Underpass) -> socket.socket:
    return socket.create_connection((served.pair.server.address, 80), 10)


def test_the_trace_ends_with_its_reader_and_the_server_goes_on(served: Underpass) -> None:
    with tracing(served, "--local-port", "80") as process:
        assert is_traced(served)
        get(served, "--limit-rate", "20M")
        process.kill()
        process.wait()
        assert until(lambda: not is_traced(served), 5)
    get(served)


def test_a_reader_that_stands_still_costs_records_alone(served: Underpass) -> None:
    """Far more happens than the ring holds while the reader is stopped"""
    (served.root / "small").write_bytes(b"small")
    request = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
    with inside(served.pair.client.name), tracing(served, "--local-port", "80", "--json") as process:
        process.send_signal(signal.SIGSTOP)
        with served_connection(served) as client:
            for _ in range(15_000):
                client.sendall(request)
                assert client.recv(1 << 16).endswith(b"\r\n\r\nsmall")
        process.send_signal(signal.SIGCONT)
        lines, counted = finished(process)
    passed, dropped = map(int, re.findall(r"\d+", counted)[:2])
    assert len(lines) + dropped == passed and dropped > 0 and len(lines) > 20_000
    last = json.loads(lines[-1])
    assert (last["event"], last["dropped"]) == ("ended", dropped)
    assert last["rcv_nxt"] == 15_000 * len(request) + 2


def test_it_ends_by_itself_after_the_time_given(served: Underpass) -> None:
    with tracing(served, "192.0.2.1:9", "-d", "0.2") as process:
        lines, said = finished(process)
    assert lines == [] and said.endswith("0 records, 0 dropped because this program was too slow\n")


@pytest.mark.parametrize(("words", "said"), [
    (["10.0.0.0/8"], "many addresses"), (["nobody"], "'nobody' is no address"), (["--pid", "1"], "no worker"),
    (["--plot", "/nowhere/x.png"], "cannot be written"), (["--local-port", "0"], "is not a port"),
])
def test_errors_are_one_line(served: Underpass, words: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "underpass.cli", "trace", *words], capture_output=True,
                          text=True, check=False, timeout=20)
    assert done.returncode in (1, 2)
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not is_traced(served)
