"""`underpass dump` beside `underpass serve` on a real veth pair, from outside its namespace."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from underpass.apps.bench.servers import Underpass
from underpass.linux.control_socket import ControlClient, control_sockets
from underpass.linux.namespaces import Pair, inside, until
from underpass.observe.pcapng_blocks import packets

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

INTERFACE_STATISTICS = 5


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Underpass]:
    scratch = tmp_path_factory.mktemp("dumped")
    (scratch / "root").mkdir()
    (scratch / "root" / "file").write_bytes(b"x" * 20_000)
    with Pair() as pair:
        server = Underpass(pair, scratch / "root", scratch, None)
        yield server
        assert server.stop() == 0


class Dump:
    """A running dump, from the moment at which it captures."""

    def __init__(self, served: Underpass, *words: str) -> None:
        command = [sys.executable, "-m", "underpass.cli", "dump", "--pid", str(served.process.pid), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        assert self.process.stderr is not None
        said = self.process.stderr.readline().decode()
        assert said == f"capturing on {served.pair.server.interface} (worker {served.process.pid})\n"

    def end(self) -> tuple[bytes, str]:
        """Interrupt it; its output, and what it counted."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def lines_until(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """What it prints, up to the line with which it is enough."""
        assert self.process.stdout is not None
        lines: list[str] = []
        while not enough(lines):
            lines.append(self.process.stdout.readline().decode().rstrip("\n"))
        return lines

    def wait(self) -> tuple[bytes, str]:
        out, said = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, said
        return out, said.decode()


@contextlib.contextmanager
def dumping(served: Underpass, *words: str) -> Iterator[Dump]:
    it = Dump(served, *words)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.communicate()


def get(served: Underpass, *words: str) -> None:
    said = served.pair.client.run("curl", "-sS", "--max-time", "20", "-o", "/dev/null",
                                  "-w", "%{size_download}", *words, served.url("file"))
    assert said.stdout == "20000"


def is_captured(served: Underpass) -> bool:
    """Whether the worker refuses another capture."""
    ((_, path),) = control_sockets(served.process.pid)
    with ControlClient(path) as client:
        try:
            _, descriptors = client.ask("capture")
        except OSError as error:
            assert "captured already" in str(error)
            return True
    for descriptor in descriptors:
        os.close(descriptor)
    return False


def test_a_connection_is_seen_from_syn_to_fin_in_both_directions(served: Underpass) -> None:
    with dumping(served, "-i", served.pair.server.interface) as dump:
        get(served)
        lines = dump.lines_until(lambda lines: sum("Flags [F" in line for line in lines) == 2)
        out, counted = dump.end()
    lines += out.decode().splitlines()
    client, server = re.escape(served.pair.client.address), re.escape(served.pair.server.address)
    there = rf"\d\d:\d\d:\d\d\.\d{{6}} {served.pair.server.interface} In  IP {client}\.\d+ > {server}\.80: "
    back = rf"\d\d:\d\d:\d\d\.\d{{6}} {served.pair.server.interface} Out IP {server}\.80 > {client}\.\d+: "
    assert re.fullmatch(there + r"Flags \[S\], seq \d+, win \d+, length 0", lines[0])
    assert re.fullmatch(back + r"Flags \[S\.\], seq \d+, ack \d+, win \d+, length 0", lines[1])
    for way in (there, back):
        assert any(re.match(way + r"Flags \[FP?\.\], seq \d+", line) for line in lines), lines
    sent = [int(found[1]) for line in lines if (found := re.match(back + r".*, length (\d+)$", line))]
    assert 20_000 < sum(sent) < 21_000
    assert re.search(rf"^{len(lines)} packets captured, \d+ passed, 0 dropped", counted)


def test_the_filter_runs_in_the_worker_and_rows_are_for_programs(served: Underpass) -> None:
    words = ("--json", "src", "host", served.pair.server.address, "and", "tcp[tcpflags] & tcp-syn != 0")
    with dumping(served, *words) as dump:
        get(served)
        get(served)
        out, counted = dump.end()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["direction"], row["flags"], row["src_port"], row["refused"]) for row in rows] == [
        ("out", "S.", 80, None)] * 2
    assert {row["interface"] for row in rows} == {served.pair.server.interface}
    passed = int(re.findall(r"captured, (\d+) passed", counted)[0])
    assert passed > 10


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_tcpdump_reads_the_file_and_finds_every_checksum_right(served: Underpass, tmp_path: Path) -> None:
    file = tmp_path / "out.pcapng"
    with dumping(served, "-w", str(file), "tcp") as dump:
        get(served)
        _, counted = dump.end()
    command = ["tcpdump", "-nn", "-v", "-r", str(file)]
    read = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    packets_of_file = list(packets(file.read_bytes()))
    sent = sum(packet.is_sent for packet in packets_of_file)
    assert 0 < sent < len(packets_of_file)
    assert read.count(" IP (") == len(packets_of_file)
    # what the peer sends over veth comes with its checksum left to the device; what we send is filled in
    assert len(re.findall(rf"{served.pair.server.address}\.80 > .*cksum 0x\w+ \(correct\)", read)) == sent
    assert counted.startswith(f"{len(packets_of_file)} packets captured")
    last = struct.unpack("=IIIIIHHQHHQHHQII", file.read_bytes()[-64:])
    received, dropped, accepted = last[7], last[10], last[13]
    assert (last[0], last[1], dropped) == (INTERFACE_STATISTICS, 64, 0)
    assert received == accepted >= len(packets_of_file)


def test_a_file_on_stdout_can_be_read_while_it_is_written(served: Underpass) -> None:
    with dumping(served, "-w", "-", "-c", "3") as dump:
        get(served)
        out, counted = dump.wait()
    assert len(list(packets(out))) == 3
    assert counted.startswith("3 packets captured")


def test_refused_packets_come_with_the_reason(served: Underpass) -> None:
    """A segment with a wrong checksum, from a raw socket of the client's."""
    with dumping(served, "--refused", "-c", "1") as dump:
        get(served)
        header = struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 5 << 4, 2, 1000, 0x1234, 0)
        with inside(served.pair.client.name), socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                                            socket.IPPROTO_TCP) as raw:
            raw.sendto(header, (served.pair.server.address, 0))
        out, _ = dump.wait()
    assert re.search(r" In  IP .*\.40000 > .*\.80: Flags \[S\], .*length 0 \(refused: tcp_checksum\)\n$",
                     out.decode())


def test_it_ends_by_itself_after_the_time_given(served: Underpass) -> None:
    with dumping(served, "-d", "0.2") as dump:
        out, counted = dump.wait()
    assert out == b"" and counted.startswith("0 packets captured")


def test_the_capture_ends_with_its_reader_and_the_server_goes_on(served: Underpass) -> None:
    with dumping(served, "-w", "/dev/null") as dump:
        get(served)
        assert is_captured(served)
        dump.process.kill()
        dump.process.wait()
        assert until(lambda: not is_captured(served), 5)
        get(served)
    with dumping(served, "-c", "1") as dump:
        get(served)
        dump.wait()


def test_a_reader_that_stands_still_costs_packets_of_the_capture_alone(served: Underpass) -> None:
    """Twenty times what the ring holds go by while the reader is stopped."""
    (served.root / "large").write_bytes(bytes(20 * (1 << 24)))
    with dumping(served, "-w", "/dev/null") as dump:
        dump.process.send_signal(signal.SIGSTOP)
        said = served.pair.client.run("curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}",
                                      served.url("large"))
        assert said.stdout == str(20 * (1 << 24))
        dump.process.send_signal(signal.SIGCONT)
        _, counted = dump.end()
    captured, passed, dropped = map(int, re.findall(r"\d+", counted)[:3])
    assert dropped > captured > 0
    assert captured + dropped == passed


def test_a_second_one_is_refused_in_one_line_and_leaves_the_first_alone(served: Underpass) -> None:
    with dumping(served) as dump:
        command = [sys.executable, "-m", "underpass.cli", "dump", "--pid", str(served.process.pid)]
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert (second.returncode, second.stdout) == (1, "")
        assert re.fullmatch(r"underpass: .*captured already\n", second.stderr)
        get(served)
        out, _ = dump.end()
    assert b"Flags [S]" in out


@pytest.mark.parametrize(("words", "said"), [
    (["-i", "eth77"], "no worker of yours runs for interface eth77; "),
    (["--pid", "1"], "no worker of yours runs for process 1; "),
    (["tcp prot 80"], "filter 'tcp prot 80': "), (["ip6", "protochain", "6"], "it loops, or is too long"),
    (["-w", "/nowhere/file"], "/nowhere/file: No such file or directory"),
])
def test_errors_are_one_line(served: Underpass, words: list[str], said: str) -> None:
    done = subprocess.run([sys.executable, "-m", "underpass.cli", "dump", *words], capture_output=True,
                          text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not is_captured(served)


def test_it_ends_when_the_worker_is_killed_and_keeps_what_came_before(served: Underpass) -> None:
    """The last test: it takes the server away, and starts another for the fixture to stop."""
    with dumping(served, "tcp[tcpflags] & tcp-syn != 0") as dump:
        get(served)
        served.process.kill()
        out, counted = dump.wait()
    assert len(out.splitlines()) == 2
    assert f"worker {served.process.pid} on {served.pair.server.interface} ended" in counted
    served.pair.server.stop(served.process)
    served.process = Underpass(served.pair, served.root, served.scratch, None).process
