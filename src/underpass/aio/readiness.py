"""A descriptor that is readable, and writable, when a socket of the stack is, for select() and its like."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any

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
        self._watch()

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

    def _watch(self) -> None:
        self.look()
        self._waiting = self._wait()
        self._waiting.add_done_callback(self._happened)

    def _happened(self, waited: "asyncio.Future[Any]") -> None:
        if not waited.cancelled():
            waited.exception()          # how it opened is for the socket to tell
            self._full = False
            self._watch()

    def close(self) -> None:
        """The descriptors are gone afterwards."""
        self._waiting.remove_done_callback(self._happened)      # which a closed loop could not call
        self._waiting.cancel()
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
