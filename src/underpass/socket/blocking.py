"""A blocking TCP socket: each call is carried out in the thread of the interface's event loop."""

import contextlib
import errno
import os
import socket as standard
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar

from underpass.aio.readiness import Readiness
from underpass.aio.stand_in import accept_now

if TYPE_CHECKING:
    from underpass.socket.network import Network

T = TypeVar("T")
make_file: Any = standard.socket.makefile


def end(inner: standard.socket, ready: Readiness | None) -> None:
    """In the loop's thread: nobody else may let go of a connection."""
    inner.close()
    if ready is not None:
        ready.close()


class Socket:
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
        self._io_refs = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<underpass.socket.socket{' [closed]' if self._closed else ''} over {self._inner!r}>"

    def _run(self, coroutine: Coroutine[Any, Any, T], at_once: Callable[[], T] | None = None) -> T:
        """Its result within the timeout; with a timeout of 0 that of `at_once`, which does not wait."""
        if self._timeout == 0:
            coroutine.close()
            if at_once is None:
                raise OSError(errno.EOPNOTSUPP, "not with a timeout of 0: set one, or use asyncio")
            return self._network.call(at_once)
        return self._network.wait(coroutine, self._timeout)

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
        sock = self.__class__.__new__(self.__class__)
        sock._take(inner)
        return sock, address

    def connect(self, address: Any) -> None:
        """As socket.connect."""
        self._run(self._network.loop.sock_connect(self._inner, address))

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
        """As socket.recv, without flags."""
        return self._received(flags, lambda: self._network.loop.sock_recv(self._inner, bufsize),
                              lambda: self._inner.recv(bufsize))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As socket.recv_into, without flags."""
        room = memoryview(buffer).cast("B")
        room = room[:nbytes] if nbytes else room
        if room.nbytes == 0:
            return 0

        def at_once() -> int:
            octets = self._inner.recv(room.nbytes)
            room[:len(octets)] = octets
            return len(octets)

        return self._received(flags, lambda: self._network.loop.sock_recv_into(self._inner, room), at_once)

    def _received(self, flags: int, wait: Callable[[], Any], at_once: Callable[[], T]) -> T:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "the stack's recv() has no flags")

        async def received() -> T:
            try:
                got: T = await wait()
                return got
            finally:
                self._look()

        return self._run(received(), lambda: self._looked(at_once))

    def _looked(self, take: Callable[[], T]) -> T:
        try:
            return take()
        finally:
            self._look()

    def send(self, data: Any, flags: int = 0) -> int:
        """As socket.send; it waits until all is queued."""
        def at_once() -> int:
            return self._inner.send(data)

        async def sent() -> int:
            await self._network.loop.sock_sendall(self._inner, data)
            return memoryview(data).nbytes

        return self._run(sent(), at_once)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As socket.sendall."""
        self._run(self._network.loop.sock_sendall(self._inner, data))

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
            self._network.call(lambda: end(self._inner, self._ready))

    def __del__(self) -> None:
        if hasattr(self, "_inner") and self._inner.fileno() != -1 and os.getpid() == self._network._pid:
            with contextlib.suppress(RuntimeError):
                self._network.loop.call_soon_threadsafe(end, self._inner, self._ready)

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
        arguments = (level, option, buflen) if buflen else (level, option)
        return self._network.call(lambda: self._inner.getsockopt(*arguments))

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """As socket.setsockopt, for the options of docs/python.md."""
        self._network.call(lambda: self._inner.setsockopt(level, option, *value))

    def fileno(self) -> int:
        """A descriptor for select() and its like: readable when the socket is. That is all."""
        if self._closed or self._inner.fileno() == -1:
            return -1
        if self._ready is None:
            self._ready = self._network.call(lambda: Readiness.of(self._network.loop, self._inner))
        return self._ready.fileno()

    def _look(self) -> None:
        """In the loop's thread: something was taken."""
        if self._ready is not None:
            self._ready.look()

    def detach(self) -> int:
        """There is no descriptor to give away."""
        raise OSError(errno.EOPNOTSUPP, "a connection of the stack has no descriptor")

    dup = detach
