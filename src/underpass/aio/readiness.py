"""A descriptor that is readable when a socket of the stack is, for select() and its like."""

import asyncio
import os
import select
import socket
from collections.abc import Callable
from typing import Any, Self

from underpass.aio.stand_in import arrivals_of, found


class Readiness:
    """Watches a socket, in the loop's thread, until it is closed."""

    def __init__(self, wait: Callable[[], "asyncio.Future[None]"], ready: Callable[[], bool],
                 kernel: socket.socket | None) -> None:
        self._wait, self._ready = wait, ready
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll: select.epoll | None = None
        if kernel is not None:          # whichever of the two is readable
            self._poll = select.epoll()
            self._poll.register(self._event, select.EPOLLIN)
            self._poll.register(kernel, select.EPOLLIN)
        self._is_set = False
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> "Self | Plain":
        """For a connection, or for a socket that listens; a socket of the kernel has it by itself."""
        arrivals, end = arrivals_of(sock), found(sock)
        if arrivals is not None:
            waiting = arrivals
            return cls(lambda: waiting.wait(loop), lambda: bool(waiting.ends), sock)
        if end is not None:
            it: Any = end
            return cls(lambda: it.wait(loop), lambda: is_readable(it), None)
        return Plain(sock)

    def fileno(self) -> int:
        """What to wait on."""
        return self._event if self._poll is None else self._poll.fileno()

    def look(self) -> None:
        """Make it readable, or not."""
        ready = self._ready()
        if ready and not self._is_set:
            os.eventfd_write(self._event, 1)
        elif self._is_set and not ready:
            os.eventfd_read(self._event)
        self._is_set = ready

    async def _watch(self) -> None:
        while True:
            self.look()
            await self._wait()

    def close(self) -> None:
        """The descriptors are gone afterwards."""
        self._watching.cancel()
        self._is_set, self._ready = False, lambda: False
        if self._poll is not None:
            self._poll.close()
        os.close(self._event)


class Plain(Readiness):
    """A socket of the kernel's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """Its own."""
        return self._sock.fileno()

    def look(self) -> None:
        """The kernel does."""

    def close(self) -> None:
        """With the socket."""


def is_readable(end: Any) -> bool:
    """Whether recv() would not wait."""
    try:
        end.connection.recv(0)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
