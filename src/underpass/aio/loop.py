"""The event loop: asyncio's own, with TCP that comes and goes by one interface taken over by the stack.

    create_server --> server.StackServer: the stack listens, and then the kernel's listener beside it
    accepted      --> StackTransport, over it asyncio's TLS where asked
    sock_connect  --> by the stack where the way leads over the interface; the kernel's socket stands for it
    an iteration  --> turns the stack, sleeps for everything; the dispatcher tells transports: scheduler.pxd

All else is asyncio's: UDP, UNIX sockets, pipes, subprocesses, signals, files, names, TCP elsewhere.
"""

import asyncio
import contextvars
import errno
import functools
import os
import socket
import time
import weakref
from asyncio import base_events
from asyncio.log import logger
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from underpass.aio.carried import options_of
from underpass.aio.dispatch import Dispatcher, Endpoint
from underpass.aio.listeners import Listeners
from underpass.aio.scheduler import Scheduler
from underpass.aio.selector import StackSelector
from underpass.aio.server import SSL_ARGUMENTS, StackServer
from underpass.aio.socket_end import SocketEnd
from underpass.aio.stand_in import (
    Arrivals,
    accept_now,
    arrivals_of,
    check_watched,
    found,
    listen_beside,
    parted,
    stand_for,
)
from underpass.aio.tls import TlsProtocol
from underpass.aio.transport import StackTransport
from underpass.aio.whose import addresses_of, is_bound_among, is_elsewhere, plain, source_towards
from underpass.nic import Nic

LINGER_S = 2.0                  # a closed loop waits so long for peers that acknowledge nothing more
LINGER_MOST_S = 10.0            # and so long for those that acknowledge a little now and then
LINGER_CLOSE_S = 0.5            # who has all has so long to close as well
LINGER_TURN_S = 0.01
BACKLOG = 1024                  # handshakes under way; beyond them the stack sends cookies

if TYPE_CHECKING:
    from underpass.aio.member import ProgramStack
    from underpass.aio.reserved import Reserved
    from underpass.aio.worker import Seat
    from underpass.nic import NicStack

Release = Callable[[], None]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Accepted = Callable[..., None]     # with a connection's index, and whether an IPv6 socket has it over IPv4
check_ssl_socket: Any = base_events._check_ssl_socket       # type: ignore[attr-defined]
tls_over: Any = TlsProtocol


class LeftToKernel(Exception):
    """The loop's TCP stays with the kernel."""


class StackEventLoop(Scheduler, asyncio.SelectorEventLoop):
    """An event loop over an attached interface, which it closes with itself; or over one that it attaches, or
    a worker's share that it takes, when it first listens or connects. Until then it is asyncio's own.
    """

    _stack: "NicStack | ProgramStack"
    _dispatcher: Dispatcher

    def __init__(self, nic: "Nic | Seat | Reserved", limits: dict[str, int | str] | None = None) -> None:
        self._nic, self._limits = nic, limits or {}
        self._serving: weakref.WeakKeyDictionary[socket.socket, list[tuple[Release, Release]]] = \
            weakref.WeakKeyDictionary()
        self._pid = os.getpid()
        self._engaged = self._left_to_kernel = False
        self._waiting = StackSelector(self._before_sleep)
        if isinstance(nic, Nic):
            self._engage()
        super().__init__(self._waiting)
        _loops.add(self)

    def _engage(self) -> bool:
        """Whether its TCP goes by the stack, from now on. Raises OSError where that is not to be had."""
        if self._engaged or self._left_to_kernel:
            return self._engaged
        try:
            self._stack = self._nic.stack(**self._limits)
        except LeftToKernel:
            self._left_to_kernel = True
            return False
        self._dispatcher = Dispatcher(self._stack) if isinstance(self._nic, Nic) else self._nic.dispatcher
        self._listeners = Listeners(self._dispatcher)
        self.watch(self._dispatcher, self._waiting.turn(
            self._dispatcher, self._stack.control_fds, self._stack.control))
        self._engaged = True
        return True

    def _before_sleep(self) -> None:
        """The program has begun, and waits."""
        if not isinstance(self._nic, Nic) and self._nic.is_awaited:
            self._engage()

    @property
    def nic(self) -> Any:
        """The interface, once it is attached: which path is active, counters, connections."""
        return getattr(self._nic, "nic", None) or self._nic

    def run_forever(self) -> None:
        """As asyncio's. What the last iteration has written, or ended, leaves before this returns, as by the
        kernel's sockets: nobody turns the stack then, until the loop runs again.
        """
        try:
            super().run_forever()
        finally:
            if self._engaged and os.getpid() == self._pid:
                self._dispatcher.turn()

    # -- the end

    def close(self) -> None:
        """End every connection, wait while the peers take what was written, and detach."""
        if self._engaged and not self.is_running() and not self.is_closed() and os.getpid() == self._pid:
            with ExitStack() as whatever_comes:         # Ctrl-C, while it waits
                whatever_comes.callback(self._nic.close)
                whatever_comes.callback(super().close)
                self._dispatcher.close()
                self._linger()
        else:
            super().close()

    def _linger(self) -> None:
        """Turn the stack until all is acknowledged and closed, or no peer goes on with it."""
        left, quiet_s, waited_s = self._dispatcher.unacknowledged, 0.0, 0.0
        now = time.monotonic()
        while (self._dispatcher.open and quiet_s < (LINGER_S if left else LINGER_CLOSE_S)
               and waited_s < LINGER_MOST_S):
            self._stack.run(LINGER_TURN_S)
            before, now = now, time.monotonic()
            # A process that did not run has not waited: neither could it send again what was lost.
            turn_s = min(now - before, 2 * LINGER_TURN_S)
            waited_s += turn_s
            before_left, left = left, self._dispatcher.unacknowledged
            quiet_s = quiet_s + turn_s if left == before_left else 0.0

    def _after_fork(self) -> None:
        if self._engaged:
            why = (f"process {self._pid} has the interface {self._nic.name}: after a fork this event loop,"
                   " its connections and servers cannot be used; make another loop in the new process")
            self._waiting.refuse(why)
            self._dispatcher.refuse(why)

    # -- servers

    async def create_server(self, *arguments: Any, sock: socket.socket | None = None,
                            start_serving: bool = True, **options: Any) -> Any:
        """As asyncio's. The port is the stack's before the kernel listens: see `StackServer`."""
        if sock is None:
            self._engage()
        elif isinstance(sock, socket.socket):
            self._listens_on(sock)
        server = await super().create_server(*arguments, sock=sock, start_serving=False, **options)
        server.__class__ = StackServer
        if start_serving:
            await server.start_serving()
        return server

    def serve_first(self, sock: socket.socket, backlog: int, accepted: Accepted) -> None:
        """Listen on what a server's socket is bound to."""
        if any(port == 0 for _, port in self._listens_on(sock)):
            sock.bind(("", 0))                  # as listen(2) would
        for address in self._listens_on(sock):
            self._listen(sock, address, backlog, accepted)

    def _listens_on(self, sock: socket.socket) -> list[tuple[str, int]]:
        """What is to come to a socket by the interface, which is attached for that; nothing where it is bound
        to another device.
        """
        addresses = [] if is_elsewhere(sock, self._nic.name) else list(addresses_of(sock))
        return addresses if addresses and self._engage() and not is_elsewhere(sock, self._nic.name) else []

    def serve_no_more(self, sock: socket.socket) -> None:
        """Leave it to the kernel, which goes on; what is open stays."""
        self._unlisten(self._serving.pop(sock, []))

    def _listen(self, sock: socket.socket, address: tuple[str, int], backlog: int,
                accepted: Accepted) -> None:
        """Listen beside a kernel socket; on another interface's address that one serves alone."""
        self._dispatcher.usable()
        try:
            release = self._stack.claim(address, sock)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return
        if sock.family == socket.AF_INET6 and ":" not in address[0]:
            accepted = functools.partial(accepted, mapped=True)
        try:
            stop = self._listeners.add(address, max(backlog, BACKLOG), accepted,
                                       options_of(sock, listening=True))
        except BaseException:
            release()
            raise
        self._serving.setdefault(sock, []).append((release, stop))

    def acceptor(self, protocol_factory: Callable[[], asyncio.BaseProtocol], sslcontext: Any, server: Any,
                 tls: dict[str, Any]) -> Accepted:
        """What is called for each connection of a server, in a copy of the context of now. `tls`: see
        `SSL_ARGUMENTS`.
        """
        context = contextvars.copy_context()

        def accept(conn: int, mapped: bool) -> None:
            protocol = protocol_factory()
            if sslcontext:
                protocol = tls_over(self, protocol, sslcontext, None, True, None, **tls)
            StackTransport(self._dispatcher, self, conn, protocol, server=server, mapped=mapped).made()

        def accepted(conn: int, mapped: bool = False) -> None:
            try:
                context.copy().run(accept, conn, mapped)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:      # of which asyncio's own loop tells in debug mode only
                self.call_exception_handler({
                    "message": "Error on transport creation for incoming connection", "exception": error})

        return accepted

    def _stop_serving(self, sock: socket.socket) -> None:
        self.serve_no_more(sock)
        super()._stop_serving(sock)     # type: ignore[misc]

    def _unlisten(self, held: list[tuple[Release, Release]]) -> None:
        if not self.is_closed() and os.getpid() == self._pid:
            for release, stop in held:
                release()               # first: no other worker is to send anybody here any more
                stop()

    # -- clients

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect by the stack where the way leads over its interface; the socket stands for it."""
        self._check(sock)
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
            return await super().sock_connect(sock, address)
        resolved = await self._ensure_resolved(         # type: ignore[attr-defined]
            address, family=sock.family, type=sock.type, proto=sock.proto, loop=self)
        to = resolved[0][4]
        if not isinstance(to[0], str):          # of a family that a program's own resolver knows
            return await super().sock_connect(sock, address)
        if not self.leads_here(sock, to):
            return await super().sock_connect(sock, to)
        end = self._open(sock, to)
        try:
            while not end.is_connected():
                await end.wait(self)
        except BaseException:
            end.abort()
            raise
        stand_for(sock, end)
        return None

    def leads_here(self, sock: socket.socket, address: tuple[Any, ...]) -> bool:
        """Whether Linux would connect the socket from an address of the interface to another host, or the
        stack itself serves the address.
        """
        if not self._engage() or self._nic.ports is None:
            return False
        here = self._nic.addresses
        if not is_bound_among(sock, self._nic.name, here):
            return False
        if plain(address[0]) in here:
            return self._dispatcher.serves(plain(address[0]), address[1])
        return source_towards(sock, address) in here

    def _open(self, sock: socket.socket, address: tuple[Any, ...]) -> SocketEnd:
        end = SocketEnd()
        host, port = sock.getsockname()[:2]
        bound = port != 0 or not ip_address(plain(host)).is_unspecified
        claimed = port != 0 and not self._is_reserved(port)
        release = self._stack.claim((plain(host), port), sock) if claimed else None
        try:
            source = (plain(host), port) if bound else None
            self._dispatcher.connect(end, (plain(address[0]), address[1]), source, list(options_of(sock)))
        finally:
            if release is not None:
                release()
        return end

    def _is_reserved(self, port: int) -> bool:
        ports = self._nic.ports
        return ports is not None and ports.first <= port <= ports.last

    # -- sockets that stand for connections

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """As asyncio's."""
        check_watched(fd)
        super().add_reader(fd, callback, *args)

    def add_writer(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """As asyncio's."""
        check_watched(fd)
        super().add_writer(fd, callback, *args)

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """At most `nbytes` octets; b"" at the end."""
        end = found(sock)
        if end is None:
            return await super().sock_recv(sock, nbytes)
        self._check(sock)
        connection = end.connection
        return await self._when_ready(end, lambda: connection.recv(nbytes))

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Fill a buffer as far as there is something."""
        end = found(sock)
        if end is None:
            return await super().sock_recv_into(sock, buf)
        self._check(sock)
        connection = end.connection
        return await self._when_ready(end, lambda: connection.recv_into(buf))

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of it."""
        end = found(sock)
        if end is None:
            return await super().sock_sendall(sock, data)
        self._check(sock)
        connection, rest = end.connection, memoryview(data).cast("B")
        while rest:
            sent = await self._when_ready(end, lambda rest=rest: connection.send(rest))  # type: ignore[misc]
            rest = rest[sent:]
        return None

    async def sock_sendfile(self, sock: socket.socket, file: Any, offset: int = 0, count: int | None = None,
                            *, fallback: bool | None = True) -> int:
        """Read the file and send it: the kernel cannot do it for a connection that is not its own."""
        if found(sock) is None:
            return await super().sock_sendfile(sock, file, offset, count, fallback=fallback)
        if not fallback:
            raise asyncio.SendfileNotAvailableError("a connection of the stack has no descriptor")
        self._check_sendfile_params(sock, file, offset, count)                 # type: ignore[attr-defined]
        sent: int = await self._sock_sendfile_fallback(sock, file, offset, count)  # type: ignore[attr-defined]
        return sent

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """A connection and who it is with: of the stack, for what comes by the interface, or the kernel's."""
        self._check(sock)
        arrivals = arrivals_of(sock) or self.listen_beside(sock)
        if arrivals is None:
            return await super().sock_accept(sock)
        while True:
            try:
                return accept_now(sock)
            except (BlockingIOError, InterruptedError):
                await self._arrives(sock, arrivals)

    def listen_beside(self, sock: socket.socket) -> Arrivals | None:
        """The stack listens beside a kernel socket from now on; None where that is not on the interface."""
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        arrivals = Arrivals()

        def accepted(conn: int, mapped: bool = False) -> None:
            end = SocketEnd.of(self._dispatcher, conn)
            end.mapped = mapped
            arrivals.add(end)

        for address in self._listens_on(sock):
            self._listen(sock, address, BACKLOG, accepted)
        held = self._serving.pop(sock, [])
        if not held:
            return None
        arrivals.stop = lambda: self._unlisten(held)
        listen_beside(sock, arrivals)
        return arrivals

    async def _arrives(self, sock: socket.socket, arrivals: Arrivals) -> None:
        """Until a connection has come, to the stack or to the kernel. As a descriptor has one reader, all who
        wait look again.
        """
        number = sock.fileno()
        happened = arrivals.wait(self)
        self.add_reader(number, arrivals.wake)
        arrivals.accepting += 1
        try:
            await happened
        finally:
            arrivals.accepting -= 1
            if arrivals.accepting == 0:
                self.remove_reader(number)

    def _check(self, sock: socket.socket) -> None:
        """As asyncio's own sock_ calls do."""
        check_ssl_socket(sock)
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    async def _when_ready(self, end: SocketEnd, call: Callable[[], T]) -> T:
        """What the call gives as soon as it need not wait."""
        while True:
            try:
                return call()
            except BlockingIOError:
                await end.wait(self)
            finally:
                end.look()

    # -- transports

    def _make_socket_transport(self, sock: socket.socket, protocol: asyncio.BaseProtocol,
                               waiter: asyncio.Future[None] | None = None, *, extra: Any = None,
                               server: Any = None, **options: Any) -> asyncio.Transport:
        end = parted(sock)
        if end is None:
            transport: asyncio.Transport = super()._make_socket_transport(      # type: ignore[misc]
                sock, protocol, waiter, extra=extra, server=server, **options)
            return transport
        return self._take(sock, end, protocol, waiter=waiter, extra=extra, server=server)

    def _make_ssl_transport(self, rawsock: socket.socket, protocol: asyncio.BaseProtocol, sslcontext: Any,
                            waiter: asyncio.Future[None] | None = None, *, server_side: bool = False,
                            server_hostname: str | None = None, extra: Any = None, server: Any = None,
                            **options: Any) -> asyncio.Transport:
        end = parted(rawsock)
        if end is None:
            transport: asyncio.Transport = super()._make_ssl_transport(         # type: ignore[misc]
                rawsock, protocol, sslcontext, waiter, server_side=server_side,
                server_hostname=server_hostname, extra=extra, server=server, **options)
            return transport
        tls = tls_over(self, protocol, sslcontext, waiter, server_side, server_hostname,
                       **{name: value for name, value in options.items() if name in SSL_ARGUMENTS})
        self._take(rawsock, end, tls, waiter=None, extra=extra, server=server)
        app_transport: asyncio.Transport = tls._app_transport
        return app_transport

    def _take(self, sock: socket.socket, end: SocketEnd, protocol: asyncio.BaseProtocol, *,
              waiter: asyncio.Future[None] | None, extra: Any, server: Any) -> StackTransport:
        """The transport of a connection that a kernel socket has stood for; the socket goes on where it holds
        a port."""
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)      # as asyncio's own transports
        holder = sock if sock.getsockname()[1] else None
        if holder is None:
            sock.close()
        return StackTransport(self._dispatcher, self, end.hand_over(), protocol,
                              waiter=self.create_future() if waiter is None else waiter, extra=extra,
                              server=server, holder=holder, mapped=end.mapped)

    # -- an iteration

    def _process_events(self, event_list: list[Any]) -> None:
        if event_list:
            super()._process_events(event_list)         # type: ignore[misc]
        if self._engaged and self.get_debug():
            self._dispatcher.dispatch(tell_slow, self.slow_callback_duration)
        elif self._engaged:
            self._dispatcher.dispatch()


_loops: "weakref.WeakSet[StackEventLoop]" = weakref.WeakSet()


def has_loop(interface: str) -> bool:
    """Whether a loop of this process has an interface of this name."""
    return any(loop._engaged and not loop.is_closed() and loop.nic.name == interface
               and loop._pid == os.getpid() for loop in list(_loops))


def _forked() -> None:
    for loop in list(_loops):
        loop._after_fork()


os.register_at_fork(after_in_child=_forked)


def tell_slow(endpoint: Endpoint, seconds: float) -> None:
    """As asyncio tells of a slow handle, which callbacks of protocols have not."""
    protocol = endpoint.get_protocol() if isinstance(endpoint, StackTransport) else None
    protocol = getattr(protocol, "_app_protocol", protocol)         # of TLS
    logger.warning("Executing callbacks of %r on %r took %.3f seconds", protocol, endpoint, seconds)
