"""A worker's process: our child, or that of a supervisor before us."""

import os
import select
import signal
import subprocess
from contextlib import suppress


class Process:
    """Known by a descriptor: its pid may be another's before long. Raises OSError where it has ended."""

    def __init__(self, pid: int, popen: "subprocess.Popen[bytes] | None" = None) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self._popen = popen
        self._status: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def wait(self) -> int | None:
        """Its status once it has ended, negative for a signal; None: only its parent is told."""
        if self._popen is not None:
            return self._popen.wait()
        select.select([self.pidfd], [], [])
        with suppress(ChildProcessError):       # a child all the same, where exec has made us what we are
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            if ended is not None:
                killed = ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
                self._status = -ended.si_status if killed else ended.si_status
        return self._status

    def kill(self) -> None:
        """At once."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Forget it."""
        os.close(self.pidfd)
