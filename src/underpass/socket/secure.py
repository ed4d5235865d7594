"""TLS over blocking sockets of the stack: what `ssl.SSLContext.wrap_socket` gives for one of them.

OpenSSL works in memory, in the thread of the event loop: records go to the socket and come from it there, and
the program's thread waits for the whole of what it has asked for.
"""

import asyncio
import functools
import inspect
import socket as standard
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, Self, TypeVar

from underpass.aio.stand_in import found
from underpass.socket.blocking import Socket

T = TypeVar("T")

PART = 65536                        # octets that are read, or made records of, at once
REST_S = 5.0                        # how long what is left of them may take once the socket is closed


@functools.cache
def teach_ssl() -> None:
    """Have `ssl.SSLContext.wrap_socket` take sockets of the stack, too: http.client and the like call it.
    With the kernel's it does what it did.
    """
    before = ssl.SSLContext.wrap_socket
    signature = inspect.signature(before)

    @functools.wraps(before)
    def wrap_socket(context: ssl.SSLContext, sock: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(sock, Socket):
            return before(context, sock, *arguments, **options)
        asked = signature.bind(context, sock, *arguments, **options)
        asked.apply_defaults()
        del asked.arguments["self"], asked.arguments["sock"]
        return TlsSocket.over(sock, context, **asked.arguments)

    type.__setattr__(ssl.SSLContext, "wrap_socket", wrap_socket)


def told(name: str) -> Callable[..., Any]:
    """A question that the TLS object answers; None where there is none."""
    def ask(self: "TlsSocket", *arguments: Any, **options: Any) -> Any:
        if self._tls is None:
            return None
        answer: Callable[..., Any] = getattr(self._tls, name)
        return self._network.call(lambda: answer(*arguments, **options))

    ask.__doc__ = f"As ssl.SSLSocket.{name}."
    return ask


class TlsSocket(Socket):
    """In the manner of `ssl.SSLSocket`."""

    context: ssl.SSLContext
    server_side: bool
    server_hostname: str | None
    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool
    _tls: ssl.SSLObject | None
    _rest: asyncio.Task[None] | None            # it sends what nobody waits for
    _session: Any

    def __init__(self, *_: Any) -> None:
        raise TypeError("ssl.SSLContext.wrap_socket makes these")

    @classmethod
    def over(cls, sock: Socket, context: ssl.SSLContext, *, server_side: bool, do_handshake_on_connect: bool,
             suppress_ragged_eofs: bool, server_hostname: str | None, session: Any) -> Self:
        """Take the socket over, and make the handshake where it is connected."""
        if context.check_hostname and not server_hostname:
            raise ValueError("check_hostname requires server_hostname")
        it = cls.__new__(cls)
        it._network, it._tls, it._rest = sock._network, None, None
        it.context, it.server_side, it.server_hostname = context, server_side, server_hostname
        it.do_handshake_on_connect, it.suppress_ragged_eofs = do_handshake_on_connect, suppress_ragged_eofs
        it._session = session
        connected = it._network.call(lambda: is_connected(sock._inner))
        if connected:
            it._begin()
            if do_handshake_on_connect and sock.gettimeout() == 0:
                raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
        sock._part_to(it)
        if connected and do_handshake_on_connect:
            it._shake_hands()
        return it

    def _begin(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent, self._ahead = bytearray(), b""
        self._sending = asyncio.Lock()          # who has it waits until there is room for what is unsent
        self._tls = self.context.wrap_bio(self._incoming, self._outgoing, self.server_side,
                                          self.server_hostname, self._session)

    def _shake_hands(self) -> None:
        try:
            self.do_handshake()
        except (OSError, ValueError):
            self.close()
            raise

    # -- in the loop's thread

    def _step(self, call: Callable[[], T]) -> T:
        """What a call of the TLS object gives. Raises SSLWantReadError where it has to wait. It does not wait
        for room to send: another thread may read while one sends to a peer that first wants to be read from.
        """
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                self._flush_soon()
                self._fill()
            except ssl.SSLError:
                with suppress(OSError):             # an alert
                    self._flush_soon()
                raise

    def _flush_soon(self) -> None:
        """Send what there is room for; the rest leaves by itself."""
        if self._sending.locked():                  # by whom this is sent, too
            return
        try:
            self._flush()
        except ssl.SSLWantWriteError:
            self._rest = self._network.loop.create_task(self._flushed())
            self._rest.add_done_callback(lambda rest: rest.cancelled() or rest.exception())

    async def _flushed(self) -> None:
        """Until all records are sent. One at a time, or the second would wait for what the first has seen."""
        async with self._sending:
            await self._retried(self._flush)

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                sent = self._inner.send(bytes(self._unsent[:PART]))
            except BlockingIOError:
                if self._ready is not None:
                    self._ready.full()
                raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "no room to send now") from None
            del self._unsent[:sent]

    def _fill(self) -> None:
        try:
            octets = self._inner.recv(PART)
        except BlockingIOError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "nothing has come yet") from None
        finally:
            self._look()
        if octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()

    # -- waiting for it

    def _op(self, call: Callable[[ssl.SSLObject], T], sends: bool = True) -> T:
        """A call of the TLS object, which may wait. One that `sends` waits until all is sent that was written
        before, and what it writes itself.
        """
        tls = self._tls
        if tls is None:
            raise ValueError(f"No SSL wrapper around {self!r}")

        async def whole() -> T:
            if sends:
                await self._flushed()
            result = await self._retried(lambda: self._step(lambda: call(tls)))
            if sends:
                await self._flushed()
            else:
                self._flush_soon()
            return result

        def at_once() -> T:
            if sends:
                self._flush()
            result = self._step(lambda: call(tls))
            self._flush_soon()
            return result

        return self._run(whole(), at_once)

    def do_handshake(self, block: bool = False) -> None:
        """As ssl.SSLSocket.do_handshake."""
        before = self._timeout
        if block and before == 0:
            self._timeout = None
        try:
            self._op(lambda tls: tls.do_handshake())
        finally:
            self._timeout = before

    def connect(self, address: Any) -> None:
        """Connect, and make the handshake."""
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._tls is not None and self._opening is None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        if self._tls is None:
            self._begin()
        try:
            super().connect(address)
        except OSError:
            self._tls = self._tls if self._opening is not None else None
            raise
        if self.do_handshake_on_connect:
            self._shake_hands()

    def accept(self) -> tuple[Socket, Any]:
        """Accept, and make the handshake."""
        plain, address = super().accept()
        return TlsSocket.over(
            plain, self.context, server_side=True, do_handshake_on_connect=self.do_handshake_on_connect,
            suppress_ragged_eofs=self.suppress_ragged_eofs, server_hostname=None, session=None), address

    # -- octets

    def read(self, bufsize: int = 1024, buffer: Any = None) -> Any:
        """As ssl.SSLSocket.read."""
        def take(tls: ssl.SSLObject) -> Any:
            if not self._ahead:
                return tls.read(bufsize) if buffer is None else tls.read(bufsize, buffer)
            part, self._ahead = self._ahead[:bufsize], self._ahead[bufsize:]
            if buffer is None:
                return part
            memoryview(buffer).cast("B")[:len(part)] = part
            return len(part)

        nothing = b"" if buffer is None else 0
        if bufsize == 0:
            return nothing
        try:
            return self._op(take, sends=False)
        except ssl.SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return nothing

    def write(self, data: Any) -> int:
        """As ssl.SSLSocket.write."""
        part = memoryview(data).cast("B")[:PART]
        return self._op(lambda tls: tls.write(part)) if part else 0

    def recv(self, bufsize: int = 1024, flags: int = 0) -> bytes:
        """As ssl.SSLSocket.recv."""
        if self._tls is None:
            return super().recv(bufsize, flags)
        self._without(flags)
        octets: bytes = self.read(bufsize)
        return octets

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As ssl.SSLSocket.recv_into."""
        if self._tls is None:
            return super().recv_into(buffer, nbytes or 0, flags)
        self._without(flags)
        count: int = self.read(nbytes or memoryview(buffer).nbytes, buffer)
        return count

    def send(self, data: Any, flags: int = 0) -> int:
        """As ssl.SSLSocket.send."""
        if self._tls is None:
            return super().send(data, flags)
        self._without(flags)
        return self.write(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As ssl.SSLSocket.sendall."""
        if self._tls is None:
            return super().sendall(data, flags)
        self._without(flags)
        tls, rest = self._tls, memoryview(data).cast("B")

        async def sent() -> None:
            for begin in range(0, rest.nbytes, PART):
                part = rest[begin:begin + PART]
                await self._retried(lambda part=part: self._step(   # type: ignore[misc]
                    lambda: tls.write(part)))
                await self._flushed()

        return self._run(sent())

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As ssl.SSLSocket.sendfile."""
        if self._tls is None:
            return super().sendfile(file, offset, count)
        file.seek(offset)
        sent = 0
        while part := file.read(PART if count is None else min(PART, count - sent)):
            self.sendall(part)
            sent += len(part)
        return sent

    def _without(self, flags: int) -> None:
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls on {type(self)}")

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        """Not over TLS."""
        raise NotImplementedError("calls of datagrams are not allowed over TLS: use recv(), send()")

    recvfrom = recvfrom_into = recvmsg = recvmsg_into = sendto = sendmsg = _refused

    def pending(self) -> int:
        """Octets that can be read although the descriptor is not readable."""
        def count() -> int:
            if self._tls is None:
                return 0
            if not self._ahead and not self._tls.pending() and self._incoming.pending:
                with suppress(ssl.SSLError):
                    self._ahead = self._tls.read(PART)
            return len(self._ahead) + self._tls.pending()
        return self._network.call(count)

    # -- the end

    def unwrap(self) -> Self:
        """As ssl.SSLSocket.unwrap: say that it is the end, wait for the peer's, and go on without TLS."""
        self._op(lambda tls: tls.unwrap())
        self._tls = None
        return self

    def shutdown(self, how: int) -> None:
        """As ssl.SSLSocket.shutdown."""
        self._tls = None
        super().shutdown(how)

    def _real_close(self) -> None:
        self._tls = None
        super()._real_close()

    def _end(self) -> None:
        """At once, or when what was taken is sent."""
        ended = super()._end
        if self._rest is None or self._rest.done():
            ended()
        else:
            self._rest.add_done_callback(lambda _: ended())
            self._network.loop.call_later(REST_S, self._rest.cancel)

    # -- settings and questions

    getpeercert = told("getpeercert")
    get_verified_chain = told("get_verified_chain")
    get_unverified_chain = told("get_unverified_chain")
    get_channel_binding = told("get_channel_binding")
    selected_alpn_protocol = told("selected_alpn_protocol")
    cipher = told("cipher")
    shared_ciphers = told("shared_ciphers")
    compression = told("compression")
    version = told("version")
    verify_client_post_handshake = told("verify_client_post_handshake")

    @property
    def session(self) -> Any:
        """As ssl.SSLSocket.session."""
        return self._session if self._tls is None else self._tls.session

    @property
    def session_reused(self) -> bool | None:
        """As ssl.SSLSocket.session_reused."""
        return None if self._tls is None else self._tls.session_reused


def is_connected(inner: standard.socket) -> bool:
    """Whether there is a peer."""
    if found(inner) is None:
        with suppress(OSError):
            return bool(inner.getpeername())
        return False
    return True
