"""What docs/shield.md has a reader do, done: its own blocks, in their order, against a server."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.netns.test_shield import datagrams

from underpass.linux.namespaces import until
from underpass.testing.namespaces import VethPair

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "shield.md").read_text()
DENIED, LET_IN, FRIEND, BLOCKED = "203.0.113.7", "203.0.113.9", "192.0.2.9", "2001:db8:bad::9"


def section(name: str) -> list[tuple[str, str]]:
    """The blocks of a section of the page: the language, and what stands in it."""
    (text,) = re.findall(rf"^## {name}\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class Reader:
    """Somebody with a shell in a folder of their own, on a host whose interface is eth0."""

    def __init__(self, veth: VethPair, folder: Path) -> None:
        self.veth, self.folder = veth, folder
        self.server: subprocess.Popen[str] | None = None
        self.beside: list[subprocess.Popen[str]] = []
        ours, peer = veth.ours, veth.peer
        for words in (f"link set {ours.interface} down", f"link set {ours.interface} name eth0",
                      "link set eth0 up", f"address add {ours.v6}/64 dev eth0 nodad",
                      "route add 203.0.113.0/24 dev eth0", "route add 192.0.2.0/24 dev eth0",
                      "route add 2001:db8::/32 dev eth0"):
            ours.run("ip", *words.split())
        ours.interface = "eth0"
        for address in (DENIED, LET_IN, FRIEND):
            peer.run("ip", "address", "add", f"{address}/32", "dev", peer.interface)
        peer.run("ip", "address", "add", f"{BLOCKED}/128", "dev", peer.interface, "nodad")

    def command(self, line: str) -> list[str]:
        path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
        return self.veth.ours.command("env", path, "sh", "-c", f"exec {line}" if "&&" not in line else line)

    def types(self, block: str) -> str:
        """The lines of a block; what runs on is left to run. Returns what they said."""
        said = ""
        for line in block.splitlines():
            if line.startswith("underpass serve"):
                self.serves(line)
            elif "--follow" in line:
                self.beside.append(subprocess.Popen(self.command(line), stdout=subprocess.PIPE, text=True,
                                                    cwd=self.folder))
            else:
                done = subprocess.run(self.command(line), capture_output=True, text=True, check=False,
                                      cwd=self.folder, timeout=60)
                assert done.returncode == 0, f"{line}: {done.stderr}"
                said += done.stdout
        return said

    def serves(self, line: str) -> None:
        """In place of what served before."""
        self.ends()
        self.server = subprocess.Popen(self.command(line), stdout=subprocess.PIPE, text=True,
                                       stderr=subprocess.STDOUT, cwd=self.folder)
        assert self.server.stdout is not None
        said = ""
        for word in self.server.stdout:
            said += word
            if word.startswith("serving"):
                return
        raise AssertionError(said)

    def ends(self) -> None:
        if self.server is not None:
            self.server.terminate()
            assert self.server.wait(20) == 0
            self.server = None

    def gets(self, source: str) -> bool:
        """Whether that address of the peer is served."""
        url = f"http://[{self.veth.ours.v6}]/" if ":" in source else f"http://{self.veth.ours.v4}/"
        words = ("-gs", "--max-time", "2", "--interface", source, url)
        return self.veth.peer.run("curl", *words, check=False).stdout == "hello\n"

    def close(self) -> None:
        for process in (*self.beside, *([self.server] if self.server else [])):
            process.kill()
            process.wait()


@pytest.fixture
def reader(veth: VethPair, tmp_path: Path) -> Iterator[Reader]:
    it = Reader(veth, tmp_path)
    yield it
    it.close()


def connections_of_one(veth: VethPair, most: int) -> list[socket.socket]:
    """So many of them, opened no faster than a source may, or as many as there can be."""
    made: list[socket.socket] = []
    with suppress(TimeoutError):
        while len(made) < most:
            with veth.peer.entered():
                made.append(socket.create_connection((veth.ours.v4, 80), timeout=4))
            time.sleep(0.06)
    return made


@pytest.mark.timeout(240)               # a hundred connections at twenty a second, beside whatever else runs
def test_a_service_is_protected_in_five_minutes(reader: Reader, veth: VethPair) -> None:
    """Each block does what the words around it promise."""
    (_, serve), (_, bad), (_, policy), (_, load), (_, block), (_, again), (_, limits), (_, follow) = \
        section("Protect a service in five minutes")
    file = reader.folder / "shield.toml"

    reader.types(serve)
    assert reader.gets(veth.peer.v4) and reader.gets(DENIED) and reader.gets(BLOCKED)

    reader.types(bad)
    file.write_text(policy)
    said = reader.types(load)
    assert "shield.toml: right; sections interface, services, list bad of 1 prefixes" in said
    assert "shield.toml is in force" in said
    assert reader.gets(veth.peer.v4) and reader.gets(FRIEND)
    assert not reader.gets(DENIED)
    assert (datagrams(veth, 5000), datagrams(veth, 53)) == (0, 10)
    assert re.search(r"^list +bad +[1-9]", reader.types("underpass shield stats"), re.MULTILINE)

    file.write_text("dry-run = true\n" + policy)
    reader.types("underpass shield load shield.toml")
    assert reader.gets(DENIED)
    assert re.search(r"^would drop +services +denied +[1-9]", reader.types("underpass shield stats"),
                     re.MULTILINE)
    file.write_text(policy)
    reader.types("underpass shield load shield.toml")

    first, *_ = block.splitlines()
    reader.types(first)
    assert re.search(r"203\.0\.113\.7/32 +blocked +\d+ s", reader.types("underpass shield show"))
    said = reader.types("\n".join(block.splitlines()[1:]))
    assert re.search(r"203\.0\.113\.7/32 +blocked", said)
    assert "203.0.113.7/32" not in reader.types("underpass shield show")
    assert reader.gets(LET_IN)
    assert not reader.gets(BLOCKED)

    reader.types(again)
    assert reader.gets(veth.peer.v4)
    assert not reader.gets(DENIED)

    file.write_text("samples = true\n" + policy + limits)
    reader.types(follow)
    (drops,) = reader.beside
    made = connections_of_one(veth, 101)
    assert len(made) == 100
    assert drops.stdout is not None
    assert any("dropped: connections in services" in line for line in drops.stdout)
    drops.send_signal(signal.SIGINT)
    assert drops.wait(20) == 0
    made.pop().close()
    assert until(lambda: reader.gets(veth.peer.v4), 20)
    for it in made:
        it.close()
    reader.ends()


def test_the_program_on_the_page_runs(reader: Reader) -> None:
    """It attaches, blocks, and prints what is counted."""
    (_, _), (_, bad), (_, policy), *_ = section("Protect a service in five minutes")
    reader.types(bad)
    (reader.folder / "shield.toml").write_text(policy)
    ((language, program),) = re.findall(r"^```(python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (reader.folder / f"page.{language[:2]}").write_text(program)
    done = subprocess.run(reader.command("python page.py"), capture_output=True, text=True, check=False,
                          cwd=reader.folder, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "'blocks': 1" in done.stdout
    assert "'bad': Tally(packets=0, octets=0)" in done.stdout
