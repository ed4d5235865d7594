"""`underpass top` on workers in another process: as text, as JSON, and on a terminal."""

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest
from tests.cli.worker import worker

from underpass.cli import main
from underpass.cli.top import WORKERS, fitting, si

ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    with worker() as it:
        yield it


def test_once_as_text(pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--interval", "0.3", "--pid", str(pid)]) == 0
    workers, talkers, remotes = capsys.readouterr().out.strip().split("\n\n")
    assert re.match(r" *pid +interface +core +cpu +rx pps", workers)
    assert re.search(rf"^ *{pid} +up-client +\d+ +\d+% +[\d.k]+ +[\d.k]+", workers, re.MULTILINE)
    assert re.search(rf"^ *{pid} +10\.0\.0\.1:\d+ +10\.0\.0\.2:80 +ESTABLISHED +[\d.]+ KiB +0 B ", talkers,
                     re.MULTILINE)
    assert re.search(rf"^ *{pid} +10\.0\.0\.1 +1 +0 B +[\d.]+ KiB$", remotes, re.MULTILINE)


def test_once_as_json(pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--json", "--interval", "0.3", "--pid", str(pid)]) == 0
    said = json.loads(capsys.readouterr().out)
    client, server = sorted(said["workers"], key=lambda it: str(it["interface"]))
    assert client["tx_pps"] > 0 and server["rx_bps"] > 0
    assert (client["connections"], server["connections"], server["half_open"]) == (4, 3, 0)
    assert client["frames_free"] <= client["frames"] == 4096
    assert {it["remote"] for it in said["remotes"]} == {"10.0.0.1", "10.0.0.2"}


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 200))
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen([sys.executable, "-m", "underpass.cli", "top", *words], stdin=theirs,
                                        stdout=theirs, stderr=theirs, start_new_session=True,
                                        env=os.environ | {"TERM": "xterm"},
                                        preexec_fn=self.control)  # noqa: PLW1509
        self.theirs = theirs
        self.seen = b""

    @staticmethod
    def control() -> None:
        """Ctrl-C is a signal only on a session's own terminal."""
        import fcntl

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def until(self, pattern: bytes, timeout_s: float = 30) -> None:
        """Read until it has said that, from here on."""
        end = time.monotonic() + timeout_s
        self.seen = b""
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 65536)

    def press(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def ended(self) -> int:
        """Its status; what it wrote last is in `seen`."""
        end = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < end
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 65536)
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 65536)
        return self.process.returncode


@pytest.fixture
def terminal(pid: int) -> Iterator[Terminal]:
    it = Terminal("--interval", "0.2", "--pid", str(pid))
    try:
        yield it
    finally:
        with contextlib.suppress(ProcessLookupError):
            it.process.kill()
        it.process.wait()
        os.close(it.ours)
        os.close(it.theirs)


def test_keys(terminal: Terminal) -> None:
    terminal.until(rb"talkers by bytes(?s:.*)10\.0\.0\.2:80")
    assert not termios.tcgetattr(terminal.theirs)[3] & termios.ECHO
    terminal.press(b"s")
    terminal.until(rb"talkers by sent")
    terminal.press(b"s")
    terminal.until(rb"talkers by received")
    terminal.press(b"xq")
    assert terminal.ended() == 0
    assert BACK in terminal.seen and SHOW in terminal.seen
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.until(rb"q quit")
    terminal.press(b"\x03")
    assert terminal.ended() == 130
    assert BACK in terminal.seen and SHOW in terminal.seen
    assert b"Traceback" not in terminal.seen
    assert termios.tcgetattr(terminal.theirs) == terminal.before


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (950.4, "950"), (12_345, "12.3k"), (123_456, "123k"),
                                             (1_234_567, "1.23M"), (2.5e9, "2.50G")])
def test_numbers_read_well(value: float, text: str) -> None:
    assert si(value) == text


def test_a_narrow_terminal_does_without_the_columns_that_matter_least() -> None:
    row = tuple("x" * 8 for _ in WORKERS)
    assert fitting(WORKERS, [row], 1000) == list(range(len(WORKERS)))
    shown = [WORKERS[at] for at in fitting(WORKERS, [row], 100)]
    assert "time-wait" not in shown and "core" not in shown
    assert {"cpu", "rx pps", "tx pps", "conns", "refused/s"} <= set(shown)
