"""The demonstration's and the bench's namespaces leave the machine as they found it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from underpass.linux.namespaces import CommandError, Pair, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


def left_behind(pid: int) -> list[str]:
    """Namespaces of the given process that still have a name."""
    directory = Path("/run/netns")
    return [path.name for path in directory.glob(f"up-{pid}-*")] if directory.is_dir() else []


def test_the_two_sides_reach_each_other_and_nothing_stays() -> None:
    with Pair() as pair:
        for address in (pair.server.address, pair.server.address6):
            ping = ("ping", "-c1", "-W1", address)      # Linux may lose the first ones: the link is just up
            assert until(lambda ping=ping: pair.client.run(*ping, check=False).returncode == 0, 20)
        process = pair.server.start("sleep", "60")
        assert process.poll() is None
    assert process.poll() is not None
    assert left_behind(os.getpid()) == []


def test_a_failed_command_says_what_it_was_in_one_line() -> None:
    with Pair() as pair, pytest.raises(CommandError) as caught:
        pair.client.run("cat", "/no/such/file")
    assert "cat /no/such/file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_program_is_named() -> None:
    with Pair() as pair, pytest.raises(CommandError, match="no-such-program is not installed"):
        pair.server.start("no-such-program")


BLOCKED = """
import time
from underpass.linux.namespaces import Pair, signals_as_exceptions
with signals_as_exceptions(), Pair() as pair:
    pair.server.start("sleep", "300")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cleans_up(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.send_signal(number)
        child.wait(20)
        assert left_behind(child.pid) == []


def test_what_a_killed_run_left_is_swept_by_the_next() -> None:
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        child.kill()
        child.wait()
        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 5)
        assert left_behind(child.pid) != []
    with Pair():
        assert left_behind(child.pid) == []
