"""What a confined process can no longer do; each test gives it up in a child of its own."""

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.forked import in_child

from underpass.linux import sandbox


def files_confined(*places: Path) -> None:
    sandbox.no_new_privileges()
    why = sandbox.confine_files([sandbox.place(it) for it in places])
    if why:
        raise RuntimeError(why)


has_landlock = ctypes.CDLL(None).syscall(sandbox.LANDLOCK_CREATE_RULESET, None, 0, 1) >= 1
needs_landlock = pytest.mark.skipif(not has_landlock, reason="this kernel has no Landlock")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@needs_landlock
def test_only_the_named_directory_can_be_read(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    for place in (inside / "file", outside):
        place.write_text("text")

    def tried(act: Callable[[], object]) -> str:
        def confined() -> object:
            files_confined(inside)
            return act()

        return in_child(confined)

    assert tried((inside / "file").read_text) == "text"
    assert tried(lambda: sorted(it.name for it in inside.iterdir())) == "['file']"
    assert tried(outside.read_text) == "EACCES"
    assert tried(lambda: (inside / "file").write_text("x")) == "EACCES"
    assert tried(lambda: (inside / "new").write_text("x")) == "EACCES"
    assert tried((inside / ".." / "outside").read_text) == "EACCES"


def test_other_system_calls_are_refused() -> None:
    def tried(act: Callable[[], object]) -> str:
        def confined() -> object:
            sandbox.no_new_privileges()
            why = sandbox.confine_calls()
            if why:
                raise RuntimeError(why)
            return act()

        return in_child(confined)

    assert tried(socket.socket) == "EPERM"
    assert tried(lambda: os.execv("/bin/true", ["true"])) == "EPERM"
    assert tried(lambda: os.kill(os.getppid(), 0)) == "EPERM"
    assert tried(lambda: os.mkdir("/tmp/never")) == "EPERM"
    assert tried(lambda: len(os.urandom(4))) == "4"


@needs_root
def test_becoming_a_user_leaves_nothing_of_root() -> None:
    def became() -> object:
        sandbox.become("nobody")
        status = Path("/proc/self/status").read_text()
        wanted = ("CapPrm", "CapEff", "Uid")
        return [line.split()[1] for line in status.splitlines() if line.startswith(wanted)]

    assert in_child(became) == "['65534', '0000000000000000', '0000000000000000']"
    assert in_child(lambda: (sandbox.become("nobody"), os.setuid(0))) == "EPERM"


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(OSError, match="there is no user nobody-of-this-name"):
        sandbox.become("nobody-of-this-name")


def test_this_interpreters_modules_stay_readable() -> None:
    places = sandbox.python_files()
    assert any(Path(sys.modules["os"].__file__ or "").is_relative_to(place) for place in places)
