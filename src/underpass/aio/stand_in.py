"""Kernel sockets that stand for connections of the stack: what loop.sock_connect has connected, and what
loop.sock_accept has accepted.

The program goes on with its own socket object. Asked who it is, it answers for the connection; closed, it
closes the connection. Octets go through the loop's sock_ calls, through its own, which do not wait, or
through a transport, which takes the connection over.
"""

import asyncio
import collections
import errno
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any

from underpass.aio.socket_calls import RECEIVING, SENDING, MessageCalls, check_flags, scattered
from underpass.aio.socket_end import SocketEnd

_ends: "weakref.WeakKeyDictionary[socket.socket, SocketEnd]" = weakref.WeakKeyDictionary()
_numbers: "weakref.WeakValueDictionary[int, socket.socket]" = weakref.WeakValueDictionary()


class StandIn(MessageCalls, socket.socket):
    """The class of such a socket from then on: a non-blocking socket's calls, carried out by the connection.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<StandIn for {_ends.get(self)!r}>"

    # -- settings and questions

    def fileno(self) -> int:
        """For add_reader(), select() and the like: readable, or writable, when the connection is. No more:
        the kernel's socket, which is not connected, has another one.
        """
        end, loop = _ends.get(self), asyncio._get_running_loop()
        return super().fileno() if end is None or loop is None else end.watch(loop)

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

    def connect(self, address: Any) -> None:
        """It is connected."""
        if _ends.get(self) is not None:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        """It is connected."""
        return super().connect_ex(address) if _ends.get(self) is None else errno.EISCONN

    # -- octets

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """What has come; with MSG_PEEK it comes again."""
        end = _ends.get(self)
        return super().recv(bufsize, flags) if end is None else received(end, bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """The same, into a buffer."""
        end = _ends.get(self)
        if end is None:
            return super().recv_into(buffer, nbytes, flags)
        room = memoryview(buffer).cast("B")
        if not 0 <= nbytes <= room.nbytes:
            raise ValueError(f"{nbytes} octets into a buffer of {room.nbytes}")
        return scattered(received(end, nbytes or room.nbytes, flags), [room])

    def send(self, data: Any, flags: int = 0) -> int:
        """As much as is taken now."""
        end = _ends.get(self)
        return super().send(data, flags) if end is None else sent(end, data, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """All of it; where less is taken now, BlockingIOError, as of any socket that does not wait."""
        end, rest = _ends.get(self), memoryview(data).cast("B")
        if end is None:
            return super().sendall(data, flags)
        while rest:
            rest = rest[sent(end, rest, flags):]
        return None

    # -- the end

    def shutdown(self, how: int) -> None:
        """End our stream; SHUT_RD alone changes nothing."""
        end = _ends.get(self)
        if end is None:
            return super().shutdown(how)
        if how != socket.SHUT_RD:
            end.connection.shutdown()
        return None

    def detach(self) -> int:
        """There is no descriptor to give away."""
        if _ends.get(self) is not None:
            raise OSError(errno.EOPNOTSUPP, "a connection of the stack has no descriptor")
        return super().detach()

    def dup(self) -> Any:
        """Nor to copy."""
        if _ends.get(self) is not None:
            raise OSError(errno.EOPNOTSUPP, "a connection of the stack has no descriptor")
        return super().dup()

    def _real_close(self, *_: Any) -> None:
        end = _ends.pop(self, None)
        if end is not None:
            end.close()
        super()._real_close()               # type: ignore[misc]


def received(end: SocketEnd, count: int, flags: int) -> bytes:
    """So many octets at most, and its descriptor is as what is left."""
    check_flags(flags, RECEIVING)
    try:
        return end.connection.peek(count) if flags & socket.MSG_PEEK else end.connection.recv(count)
    finally:
        end.look()


def sent(end: SocketEnd, data: Any, flags: int) -> int:
    """How many octets are taken; where there is room for none, its descriptor is not writable meanwhile."""
    check_flags(flags, SENDING)
    try:
        return end.connection.send(data)
    except BlockingIOError:
        end.look(full=True)
        raise


def end_of(sock: socket.socket, kernel: Any, ours: Any) -> Any:
    """What the connection answers, or the kernel where there is none any more."""
    end = _ends.get(sock)
    return kernel(sock) if end is None else ours(end)


def stand_for(sock: socket.socket, end: SocketEnd) -> None:
    """From now on the socket stands for the connection."""
    _ends[sock] = end
    _numbers[sock.fileno()] = sock
    if type(sock) is socket.socket:
        sock.__class__ = StandIn            # a subclass of a program's own keeps its own answers


def check_watched(watched: Any) -> None:
    """Raises RuntimeError for the kernel's descriptor of such a socket: unconnected, it is always ready."""
    number = watched if isinstance(watched, int) else getattr(watched, "fileno", lambda: -1)()
    sock = _numbers.get(number)
    if sock is not None and sock in _ends and socket.socket.fileno(sock) == number:
        raise RuntimeError(f"descriptor {number} is a kernel socket's, in whose place the stack connects:"
                           " take what fileno() of its socket.socket gives now")


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
