"""A child process that is stopped between any two of its instructions."""

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PTRACE_TRACEME, PTRACE_SINGLESTEP = 0, 9
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Stepped:
    """A process that stands still; `step` lets it carry out instructions."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = False

    def step(self) -> None:
        """One instruction; a signal that came meanwhile is left out."""
        if LIBC.ptrace(PTRACE_SINGLESTEP, self.pid, None, None) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")
        _, status = os.waitpid(self.pid, 0)
        self.ended = os.WIFEXITED(status) or os.WIFSIGNALED(status)


@contextmanager
def stepped(work: Callable[[], object]) -> Iterator[Stepped]:
    """A child that is about to do `work`; it is killed at the end."""
    pid = os.fork()
    if pid == 0:
        try:
            LIBC.ptrace(PTRACE_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    child = Stepped(pid)
    try:
        yield child
    finally:
        if not child.ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
