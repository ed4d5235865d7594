"""A descriptor that is readable, and writable, when a socket of the stack is, for select() and its like."""

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from underpass.aio.stand_in import arrivals_of, found

FILLING = bytes(2048)               # while it lies in the smallest of buffers nothing more can be sent


class Readiness:
    """Watches a socket, in the loop's thread, until it is closed."""

    def __init__(self, wait: Callable[[], "asyncio.Future[Any]"], ready: Callable[[], bool],
                 opening: "asyncio.Future[None] | None" = None, kernel: socket.socket | None = None) -> None:
        self._wait, self._ready, self._opening = wait, ready, opening
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self._far.setblocking(False)
        self._poll: select.epoll | None = None
        if kernel is not None:          # whichever of the two is readable
            self._poll = select.epoll()
            self._poll.register(self._near, select.EPOLLIN)
            self._poll.register(kernel, select.EPOLLIN)
        self._is_set = self._is_filled = self._full = False
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        self.look()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, sock: socket.socket,
           opening: "asyncio.Future[None] | None" = None) -> "Self | Plain":
        """For a connection, for one that opens, or for a socket that listens; a socket of the kernel has it
        by itself.
        """
        arrivals = arrivals_of(sock)
        if arrivals is not None:
            waiting = arrivals
            return cls(lambda: waiting.wait(loop), lambda: bool(waiting.ends), kernel=sock)
        if opening is not None and not opening.done():
            its = opening

            def happens() -> "asyncio.Future[Any]":
                end = found(sock)
                return asyncio.shield(its) if end is None and not its.done() else wait_for(end, loop)
            return cls(happens, lambda: its.done() and is_readable(found(sock)), its)
        if found(sock) is not None:
            return cls(lambda: wait_for(found(sock), loop), lambda: is_readable(found(sock)))
        return Plain(sock)

    def fileno(self) -> int:
        """What to wait on."""
        return self._near.fileno() if self._poll is None else self._poll.fileno()

    def full(self) -> None:
        """There is no room to send until something has happened."""
        self._full = True
        self.look()

    def look(self) -> None:
        """Make it readable, and writable, or not."""
        ready = self._ready()
        if ready and not self._is_set:
            self._far.send(b"\0")
        elif self._is_set and not ready:
            self._near.recv(1)
        self._is_set = ready
        blocked = self._full or (self._opening is not None and not self._opening.done())
        if blocked and not self._is_filled:
            self._near.send(FILLING)
        elif self._is_filled and not blocked:
            self._far.recv(len(FILLING))
        self._is_filled = blocked

    async def _watch(self) -> None:
        while True:
            self.look()
            with suppress(OSError):         # how it opened is for the socket to tell
                await self._wait()
            self._full = False

    def close(self) -> None:
        """The descriptors are gone afterwards."""
        self._watching.cancel()
        if self._poll is not None:
            self._poll.close()
        self._near.close()
        self._far.close()


class Plain(Readiness):
    """A socket of the kernel's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """Its own."""
        return self._sock.fileno()

    def full(self) -> None:
        """The kernel knows."""

    def look(self) -> None:
        """The kernel does."""

    def close(self) -> None:
        """With the socket."""


def wait_for(end: Any, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
    """Until something happens to a connection; where there is none, nothing will."""
    return loop.create_future() if end is None else end.wait(loop)


def is_readable(end: Any) -> bool:
    """Whether recv() would not wait."""
    try:
        if end is not None:
            end.connection.recv(0)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
