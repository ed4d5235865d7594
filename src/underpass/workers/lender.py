"""A supervisor of a program that starts processes, or threads, by itself: whoever of them makes an event loop
borrows a share of the interface.
"""

import errno
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from underpass.workers.adoption import kill, orphans
from underpass.workers.channel import Channel
from underpass.workers.plan import Plans, WorkerPlan
from underpass.workers.process import Process
from underpass.workers.remote import RemoteWorker, Waiting
from underpass.workers.supervisor import GRACE_S, LOOK_S, Supervisor

PEER = struct.Struct("3i")          # struct ucred: pid, uid, gid


class Borrower(Waiting):
    """A process that wants a share. It is not ours, and may go on without one."""

    def __init__(self, end: socket.socket) -> None:
        pid, _, _ = PEER.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        self.process = Passing(pid)
        self.channel = Channel(end)
        self.layout = ""


class Passing(Process):
    """Known as long as it has a share: it is not waited for."""

    def wait(self) -> int | None:
        """Its status, if it has ended, and if that is ours to know."""
        return super().wait() if self.ended else None


class Lender(Supervisor):
    """A supervisor that starts one program, whose event loops are its workers. `run` returns with it.

    Signals go to the program, which knows what they mean: SIGHUP, too. All shares have to be taken before any
    port is served.
    """

    succeeds = "the program's next event loop takes its place"

    def __init__(self, ifname: str, plan: WorkerPlan, **options: Any) -> None:
        alone = orphans(ifname)
        if alone:
            raise OSError(errno.EBUSY, f"{ifname} is served by workers whose supervisor is gone, and which"
                                       f" another program started: end them: {kill(alone)}")
        super().__init__(ifname, plan, **options)
        self._desk, other = Channel.pair()
        with other:
            words = [str(other.fileno()), plan.user or "", *plan.program]
            self._program = subprocess.Popen([sys.executable, "-m", "underpass.aio.desk", *words],
                                             pass_fds=[other.fileno()], process_group=0)
        self._main = Process(self._program.pid, self._program)
        self._kill_at: float | None = None
        self.when_ready: Callable[[], None] | None = None       # called once each share is taken
        self._selector.register(self._desk, selectors.EVENT_READ)
        self._selector.register(self._main.pidfd, selectors.EVENT_READ)

    @property
    def status(self) -> int:
        """The program's, as a shell gives it; to be asked for once it has ended."""
        status = self._main.wait() or 0
        return status if status >= 0 else 128 - status

    # shares

    def _start(self, worker: RemoteWorker, its: Waiting | None = None) -> None:
        """Whoever takes it runs it."""
        if its is not None:
            super()._start(worker, its)

    def _wait_s(self) -> float:
        return LOOK_S

    def turn(self, timeout: float = LOOK_S) -> None:
        """As `Supervisor.turn`; and lend what is asked for."""
        super().turn(timeout)
        for worker in self.workers:
            if worker.process is not None and worker.counters is not None:
                self._buried(worker)            # given back; its process may go on
        if self.when_ready is not None and self.is_ready:
            self.when_ready()
            self.when_ready = None
        with suppress(EOFError):
            while (asked := self._desk.receive()) is not None:
                for descriptor in asked[1]:
                    self._lend(socket.socket(fileno=descriptor))

    def _lend(self, end: socket.socket) -> None:
        """The first share that nobody has."""
        try:
            borrower = Borrower(end)
        except OSError:                         # it is gone again
            end.close()
            return
        free = next((it for it in self.workers if it.process is None), None)
        if free is not None:
            free.ended = False
            self._start(free, borrower)
            return
        count = len(self.workers)
        borrower.channel.send({"do": "refuse", "why": f"all {count} shares of {self.name} have an event loop:"
                                                      f" --loops {count + 1}"})
        borrower.channel.close()
        borrower.process.close()

    # the program

    def wait_ready(self, seconds: float = 0) -> None:
        """Nothing: the program decides."""

    def run(self, on_reload: Callable[[], Plans | None] = lambda: None) -> dict[str, dict[str, int]]:
        """Until the program has ended, signals or not."""
        with self._hearing_signals():
            while not self._main.ended:
                self.turn()
                self._pass_on()
        return {}

    def _pass_on(self) -> None:
        """What we were told, and what follows where the program does not."""
        signals, self._signals = self._signals, []
        for number in signals:
            self._program.send_signal(number)
            if number != signal.SIGHUP and self._kill_at is None:
                self._ending = True
                self._kill_at = time.monotonic() + self.division.drain_s + GRACE_S
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._main.kill()

    def close(self) -> None:
        """As `Supervisor.close`, and end the program. May be called twice."""
        if not self._main.ended:
            self._main.kill()
        self._program.wait()
        super().close()
        self._desk.close()
