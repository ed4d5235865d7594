"""`underpass demo` as a whole: every step holds, and nothing stays, after Ctrl-C too."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = ("curl", "wrk", "nginx", "ping", "ethtool")
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]
COMMAND = (sys.executable, "-m", "underpass.cli", "demo")


def left_behind(pid: int) -> list[str]:
    """Namespaces of the given process that still have a name."""
    return [path.name for path in Path("/run/netns").glob(f"up-{pid}-*")]


def test_every_step_holds() -> None:
    done = subprocess.run([*COMMAND, "--seconds", "1", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["failed"] == {}
    assert len(report["steps"]) == 8
    assert "XDP" in report["path"]
    assert set(report["speeds"]) == {"underpass", "nginx"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_nothing_behind(number: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        for line in child.stdout:
            if line.startswith("3. "):
                break
        child.send_signal(number)
        child.stdout.read()
        assert child.wait(20) == 128 + number
        assert child.stderr.read() == ""
        assert left_behind(child.pid) == []


def test_without_tools_or_rights_it_says_so_in_one_line() -> None:
    other_user = ["setpriv", "--reuid=65534", "--clear-groups"]
    if subprocess.run([*other_user, *COMMAND[:3], "--version"], capture_output=True, check=False).returncode:
        pytest.skip("another user cannot read this installation")
    done = subprocess.run([*other_user, *COMMAND], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "underpass: making network namespaces needs root; run it with sudo\n"
