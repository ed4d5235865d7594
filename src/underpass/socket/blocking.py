"""A blocking TCP socket: each call is carried out in the thread of the interface's event loop."""

import asyncio
import contextlib
import errno
import os
import socket as standard
import ssl
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar

from underpass.aio.readiness import Plain, Readiness
from underpass.aio.socket_calls import RECEIVING, SENDING, MessageCalls, check_flags, scattered
from underpass.aio.stand_in import accept_now, arrivals_of, found

if TYPE_CHECKING:
    from underpass.aio.socket_end import SocketEnd
    from underpass.socket.network import Network

T = TypeVar("T")
make_file: Any = standard.socket.makefile
number_of: Any = standard.socket.fileno         # the kernel's, of one that stands for a connection as well


def end(inner: standard.socket, ready: Readiness | None, opening: "asyncio.Task[None] | None") -> None:
    """In the loop's thread: nobody else may let go of a connection."""
    if opening is not None:
        opening.cancel()
    inner.close()
    if ready is not None:
        ready.close()


async def happens(loop: Any, inner: standard.socket, reading: bool) -> None:
    """Until something happens to a connection; to one of the kernel, that it is readable, or else writable.
    """
    it = found(inner)
    if it is not None:
        await it.wait(loop)
        return
    ready, number = loop.create_future(), inner.fileno()
    add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)
    add(number, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        remove(number)


def readiness_of(loop: asyncio.AbstractEventLoop, sock: standard.socket,
                 opening: "asyncio.Future[None] | None" = None) -> Readiness:
    """For a connection, for one that opens, or for a socket that listens; a socket of the kernel has it by
    itself.
    """
    arrivals, end = arrivals_of(sock), found(sock)
    if arrivals is not None:
        return Readiness(lambda: arrivals.wait(loop), lambda: bool(arrivals.ends), kernel=sock)
    if opening is not None and not opening.done():
        def happens() -> "asyncio.Future[Any]":
            end = found(sock)
            return asyncio.shield(opening) if end is None and not opening.done() else wait_for(end, loop)
        return Readiness(happens, lambda: opening.done() and is_readable(found(sock)), opening)
    if end is not None:
        return Readiness(lambda: wait_for(found(sock), loop), lambda: is_readable(found(sock)))
    return Plain(sock)


def wait_for(end: "SocketEnd | None", loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
    """Until something happens to a connection; where there is none, nothing will."""
    return loop.create_future() if end is None else end.wait(loop)


def is_readable(end: "SocketEnd | None") -> bool:
    """Whether recv() would not wait."""
    return end is None or end.is_readable()


class Socket(MessageCalls):
    """A TCP socket, in the manner of `socket.socket`."""

    _network: "Network"
    timeout = property(lambda self: self.gettimeout())

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is not None:
            raise ValueError("a descriptor belongs to the kernel: use the module socket for it")
        family = standard.AF_INET if family == -1 else family
        type = standard.SOCK_STREAM if type == -1 else type
        self._take(self._network.call(lambda: standard.socket(family, type, max(proto, 0))))

    def _take(self, inner: standard.socket) -> None:
        inner.setblocking(False)
        self._inner = inner
        self.family, self.type, self.proto = inner.family, inner.type, inner.proto
        self._timeout = standard.getdefaulttimeout()
        self._ready: Readiness | None = None
        self._opening: asyncio.Task[None] | None = None
        self._io_refs = 0
        self._closed = False

    def _part_to(self, other: "Socket") -> None:
        """Another one has the connection from now on; this one is closed."""
        other._take(self._inner)
        other._timeout, other._opening, other._ready = self._timeout, self._opening, self._ready
        self._opening = self._ready = None
        self._inner = standard.socket()
        self._inner.close()
        self._closed = True

    def __repr__(self) -> str:
        return f"<underpass.socket.socket{' [closed]' if self._closed else ''} over {self._inner!r}>"

    def _at_once(self, flags: int = 0) -> bool:
        return self._timeout == 0 or bool(flags & standard.MSG_DONTWAIT)

    def _run(self, coroutine: Coroutine[Any, Any, T], at_once: Callable[[], T] | None = None,
             flags: int = 0) -> T:
        """Its result within the timeout; with a timeout of 0 that of `at_once`, which does not wait."""
        if not self._at_once(flags):
            whole = coroutine if self._opening is None else self._after_opening(coroutine)
            return self._network.wait(whole, self._timeout)
        coroutine.close()
        if at_once is None:
            raise OSError(errno.EOPNOTSUPP, "not with a timeout of 0: set one, or use asyncio")
        if self._opening is not None and not self._opening.done():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._opened()
        return self._network.call(at_once)

    async def _after_opening(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            if self._opening is not None:
                await asyncio.wait([self._opening])
                self._opened()
            return await coroutine
        finally:
            coroutine.close()

    # -- opening

    def bind(self, address: Any) -> None:
        """As socket.bind."""
        self._network.call(lambda: self._inner.bind(address))

    def listen(self, backlog: int = 128) -> None:
        """As socket.listen; the stack listens beside the kernel from now on."""
        def listen() -> None:
            self._inner.listen(backlog)
            if hasattr(self._network.loop, "listen_beside"):
                self._network.loop.listen_beside(self._inner)
        self._network.call(listen)

    def accept(self) -> tuple["Socket", Any]:
        """As socket.accept."""
        network = self._network

        async def accept() -> tuple[standard.socket, Any]:
            try:
                accepted: tuple[standard.socket, Any] = await network.loop.sock_accept(self._inner)
                return accepted
            finally:
                self._look()

        inner, address = self._run(accept(), lambda: self._looked(lambda: accept_now(self._inner)))
        sock: Socket = object.__new__(network.socket)
        sock._take(inner)
        return sock, address

    def connect(self, address: Any) -> None:
        """As socket.connect; with a timeout of 0 it goes on by itself, and the descriptor is writable once it
        is done.
        """
        if self._opening is not None:
            if not self._opening.done():
                raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
            self._opened()
        if found(self._inner) is not None:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        if self._timeout == 0:
            self._begin_to_connect(address)
        else:
            self._run(self._network.loop.sock_connect(self._inner, address))

    def _begin_to_connect(self, address: Any) -> None:
        loop = self._network.loop
        to = standard.getaddrinfo(address[0], address[1], self.family, standard.SOCK_STREAM)[0][4]

        def begin() -> None:
            if not hasattr(loop, "leads_here") or not loop.leads_here(self._inner, to):
                self._inner.connect(to)
                return
            opening = self._opening = loop.create_task(loop.sock_connect(self._inner, to))
            opening.add_done_callback(lambda _: opening.cancelled() or opening.exception())
            raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))
        self._network.call(begin)

    def _opened(self) -> None:
        """Raise what has kept it from connecting, once."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.result()

    def connect_ex(self, address: Any) -> int:
        """As socket.connect_ex."""
        try:
            self.connect(address)
        except TimeoutError as error:
            return error.errno or errno.EAGAIN
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    # -- octets

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As socket.recv, with the flags MSG_PEEK, MSG_WAITALL and MSG_DONTWAIT."""
        check_flags(flags, RECEIVING)
        if flags & standard.MSG_WAITALL and not flags & standard.MSG_PEEK and not self._at_once(flags):
            return self._recv_all(bufsize)
        if flags & standard.MSG_PEEK:
            peeked: bytes = self._run(self._retried(lambda: self._inner.recv(bufsize, standard.MSG_PEEK)),
                                      lambda: self._inner.recv(bufsize, standard.MSG_PEEK), flags)
            return peeked
        return self._received(lambda: self._network.loop.sock_recv(self._inner, bufsize),
                              lambda: self._inner.recv(bufsize), flags)

    def _recv_all(self, bufsize: int) -> bytes:
        got = bytearray()
        try:
            while len(got) < bufsize and (more := self.recv(bufsize - len(got))):
                got += more
        except OSError:                 # the next call tells
            if not got:
                raise
        return bytes(got)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As socket.recv_into, with the flags of `recv`."""
        room = memoryview(buffer).cast("B")
        room = room[:nbytes] if nbytes else room
        if room.nbytes == 0:
            return 0

        if flags:
            return scattered(self.recv(room.nbytes, flags), [room])
        return self._received(lambda: self._network.loop.sock_recv_into(self._inner, room),
                              lambda: scattered(self._inner.recv(room.nbytes), [room]))

    def _received(self, wait: Callable[[], Any], take: Callable[[], T], flags: int = 0) -> T:
        async def received() -> T:
            try:
                got: T = await wait()
                return got
            finally:
                self._look()

        return self._run(received(), lambda: self._looked(take), flags)

    async def _retried(self, call: Callable[[], T]) -> T:
        """In the loop's thread: what a call of the inner socket gives, once it need not wait."""
        loop = self._network.loop
        while True:
            try:
                return call()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                await happens(loop, self._inner, not isinstance(error, ssl.SSLWantWriteError))

    def _looked(self, take: Callable[[], T]) -> T:
        try:
            return take()
        finally:
            self._look()

    def send(self, data: Any, flags: int = 0) -> int:
        """As socket.send; it waits until all is queued."""
        async def sent() -> int:
            await self._network.loop.sock_sendall(self._inner, data)
            return memoryview(data).nbytes

        check_flags(flags, SENDING)
        return self._run(sent(), lambda: self._sent_now(data), flags)

    def _sent_now(self, data: Any) -> int:
        try:
            return self._inner.send(data)
        except BlockingIOError:
            if self._ready is not None:
                self._ready.full()
            raise

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As socket.sendall."""
        check_flags(flags, SENDING)
        self._run(self._network.loop.sock_sendall(self._inner, data), None, flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As socket.sendfile."""
        sent: int = self._run(self._network.loop.sock_sendfile(self._inner, file, offset, count))
        return sent

    def makefile(self, mode: str = "r", buffering: int | None = None, **options: Any) -> Any:
        """As socket.makefile."""
        return make_file(self, mode, buffering, **options)

    # -- the end

    def shutdown(self, how: int) -> None:
        """As socket.shutdown."""
        self._network.call(lambda: self._inner.shutdown(how))

    def close(self) -> None:
        """As socket.close."""
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _decref_socketios(self) -> None:
        self._io_refs -= 1
        if self._closed:
            self.close()

    def _real_close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):      # detached, or of another process
            self._network.call(self._end)

    def _end(self) -> None:
        """In the loop's thread."""
        end(self._inner, self._ready, self._opening)

    def __del__(self) -> None:
        if hasattr(self, "_inner") and number_of(self._inner) != -1 and os.getpid() == self._network._pid:
            with contextlib.suppress(RuntimeError):
                self._network.loop.call_soon_threadsafe(
                    end, self._inner, self._ready, self._opening)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._closed:
            self.close()

    # -- settings and questions

    def settimeout(self, value: float | None) -> None:
        """As socket.settimeout."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = None if value is None else float(value)

    def gettimeout(self) -> float | None:
        """As socket.gettimeout."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """As socket.setblocking."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """As socket.getblocking."""
        return self._timeout != 0

    def getsockname(self) -> Any:
        """As socket.getsockname."""
        return self._network.call(self._inner.getsockname)

    def getpeername(self) -> Any:
        """As socket.getpeername."""
        return self._network.call(self._inner.getpeername)

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """As socket.getsockopt, for the options of docs/python.md."""
        if (level, option) == (standard.SOL_SOCKET, standard.SO_ERROR) and self._opening is not None \
                and self._opening.done():
            try:
                self._opened()
            except OSError as error:
                return error.errno
        arguments = (level, option, buflen) if buflen else (level, option)
        return self._network.call(lambda: self._inner.getsockopt(*arguments))

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """As socket.setsockopt, for the options of docs/python.md."""
        self._network.call(lambda: self._inner.setsockopt(level, option, *value))

    def get_inheritable(self) -> bool:
        """As socket.get_inheritable: no other process gets it."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """As socket.set_inheritable, with False."""
        if inheritable:
            raise OSError(errno.EOPNOTSUPP, "no other process can have connections of the stack"
                                            ": attach there")

    def fileno(self) -> int:
        """A descriptor for select() and its like: readable, or writable, when the socket is. That is all."""
        if self._closed or number_of(self._inner) == -1:
            return -1
        if self._ready is None:
            self._ready = self._network.call(
                lambda: readiness_of(self._network.loop, self._inner, self._opening))
        return self._ready.fileno()

    def _look(self) -> None:
        """In the loop's thread: something was taken."""
        if self._ready is not None:
            self._ready.look()

    def detach(self) -> int:
        """There is no descriptor to give away."""
        raise OSError(errno.EOPNOTSUPP, "a connection of the stack has no descriptor")

    dup = detach
