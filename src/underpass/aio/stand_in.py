"""Kernel sockets that stand for connections of the stack: what loop.sock_connect has connected, and what
loop.sock_accept has accepted.

The program goes on with its own socket object. Asked who it is, it answers for the connection; closed, it
closes the connection. Octets go through the loop's sock_ calls, or through a transport, which takes the
connection over.
"""

import asyncio
import collections
import socket
import weakref
from collections.abc import Callable
from typing import Any

from underpass.aio.socket_end import SocketEnd

_ends: "weakref.WeakKeyDictionary[socket.socket, SocketEnd]" = weakref.WeakKeyDictionary()


class StandIn(socket.socket):
    """The class of such a socket from then on; `fileno()` is the kernel's, which is not connected."""

    __slots__ = ()

    def getpeername(self) -> Any:
        """The peer of the connection."""
        return end_of(self, socket.socket.getpeername, SocketEnd.getpeername)

    def getsockname(self) -> Any:
        """Our side of the connection."""
        return end_of(self, socket.socket.getsockname, SocketEnd.getsockname)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """The connection's option."""
        end = _ends.get(self)
        if end is not None:
            return end.getsockopt(level, option, buflen)
        return super().getsockopt(level, option, buflen) if buflen else super().getsockopt(level, option)

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """Set the connection's option."""
        end = _ends.get(self)
        if end is not None:
            return end.setsockopt(level, option, *value)
        return super().setsockopt(level, option, *value)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """What has come, as from a non-blocking socket; with MSG_PEEK it comes again."""
        end = _ends.get(self)
        if end is None:
            return super().recv(bufsize, flags)
        return end.connection.peek(bufsize) if flags & socket.MSG_PEEK else end.connection.recv(bufsize)

    def send(self, data: Any, flags: int = 0) -> int:
        """As much as is taken now."""
        end = _ends.get(self)
        return super().send(data, flags) if end is None else end.connection.send(data)

    def shutdown(self, how: int) -> None:
        """End our stream; SHUT_RD alone changes nothing."""
        end = _ends.get(self)
        if end is None:
            return super().shutdown(how)
        if how != socket.SHUT_RD:
            end.connection.shutdown()
        return None

    def _real_close(self, *_: Any) -> None:
        end = _ends.pop(self, None)
        if end is not None:
            end.close()
        super()._real_close()               # type: ignore[misc]


def end_of(sock: socket.socket, kernel: Any, ours: Any) -> Any:
    """What the connection answers, or the kernel where there is none any more."""
    end = _ends.get(sock)
    return kernel(sock) if end is None else ours(end)


def stand_for(sock: socket.socket, end: SocketEnd) -> None:
    """From now on the socket stands for the connection."""
    _ends[sock] = end
    if type(sock) is socket.socket:
        sock.__class__ = StandIn            # a subclass of a program's own keeps its own answers


def found(sock: socket.socket) -> SocketEnd | None:
    """The connection that it stands for."""
    return _ends.get(sock)


def parted(sock: socket.socket) -> SocketEnd | None:
    """The same, and it stands for it no longer."""
    return _ends.pop(sock, None)


class Arrivals:
    """Connections that the stack has accepted beside a listening kernel socket, until sock_accept asks."""

    def __init__(self) -> None:
        self.ends: collections.deque[SocketEnd] = collections.deque()
        self.waiters: list[asyncio.Future[None]] = []
        self.accepting = 0              # calls of sock_accept that wait
        self.stop: Callable[[], None] = lambda: None

    def add(self, end: SocketEnd) -> None:
        """One more."""
        self.ends.append(end)
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def wait(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """A future that is done when one has come, or when the kernel has one."""
        waiter = loop.create_future()
        self.waiters = [it for it in self.waiters if not it.done()]     # cancelled ones, and the kernel's
        self.waiters.append(waiter)
        return waiter

    def close(self) -> None:
        """Accept no more; those that nobody asked for are reset."""
        self.stop()
        for end in self.ends:
            end.abort()
        self.ends.clear()


_arrivals: "weakref.WeakKeyDictionary[socket.socket, Arrivals]" = weakref.WeakKeyDictionary()


class Listening(socket.socket):
    """The class of a socket that the stack listens beside."""

    __slots__ = ()

    def _real_close(self, *_: Any) -> None:
        arrivals = _arrivals.pop(self, None)
        if arrivals is not None:
            arrivals.close()
        super()._real_close()               # type: ignore[misc]


def listen_beside(sock: socket.socket, arrivals: Arrivals) -> None:
    """From now on the stack accepts beside the socket, until it is closed."""
    _arrivals[sock] = arrivals
    if type(sock) is socket.socket:
        sock.__class__ = Listening
    else:
        weakref.finalize(sock, arrivals.close)


def arrivals_of(sock: socket.socket) -> Arrivals | None:
    """What the stack has accepted beside it, where it does."""
    return _arrivals.get(sock)


def accept_now(sock: socket.socket) -> tuple[socket.socket, Any]:
    """A connection that the stack or the kernel has, and who it is with. Raises BlockingIOError for none."""
    arrivals = arrivals_of(sock)
    if arrivals is None or not arrivals.ends:
        accepted, address = sock.accept()
        accepted.setblocking(False)
        return accepted, address
    end = arrivals.ends.popleft()
    stands = socket.socket(sock.family, sock.type)
    stands.setblocking(False)
    stand_for(stands, end)
    return stands, end.getpeername()
