"""Connections and their holders, and the walk over those to which something happened."""
cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport EBADF
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

import os
import socket
from contextlib import suppress

from underpass.stack.inspect cimport connection_info
from underpass.stack.options cimport Target, option_get, option_set, option_target
from underpass.stack.sockets cimport STALE, EventQueue, PythonApp, events_forget, make_listener
from underpass.stack.stack cimport Stack
from underpass.stack.turn cimport monotonic_ns
from underpass.tcp.accept cimport accept_find
from underpass.tcp.api cimport tcp_abort, tcp_close, tcp_connect_preset, tcp_hold, tcp_listen, tcp_unlisten
from underpass.tcp.preset cimport preset_change, preset_default
from underpass.tcp.tcb cimport CONN_FIN_QUEUED, CONN_NODELAY, ESTABLISHED, EVENT_ACCEPTED, LAST_ACK, NO_CONN, NO_LISTENER, Tcb
from underpass.wire.address cimport Address, address_from_text, address_is_v4, address_to_text


cdef int raise_errno(int number, str what) except -1:
    raise OSError(number, f"{os.strerror(number)}: {what}")


cdef tuple socket_address(const Address *address, uint16_t port, bint mapped):
    """As getsockname() of the kernel's sockets has it."""
    if mapped:
        return f"::ffff:{address_to_text(address)}", port, 0, 0
    if address_is_v4(address):
        return address_to_text(address), port
    return address_to_text(address), port, 0, 0


@cython.no_gc_clear                 # letting go needs the dispatcher
cdef class Endpoint:
    def __cinit__(self):
        self.conn = NO_CONN

    def __dealloc__(self):
        self.release(False)

    cdef int happened(self, uint8_t events) except -1:
        return 0

    cdef int hold(self, Dispatcher dispatcher, uint32_t conn, bint kept) except -1:
        self.dispatcher = dispatcher
        self.tcp = dispatcher.tcp
        self.conn = conn
        self.kept = kept
        self.v6 = not address_is_v4(&self.tcp.tcbs[conn].local)
        if kept:
            Py_INCREF(self)
        dispatcher.endpoints[conn] = <PyObject *>self
        return 0

    cdef uint32_t part(self) noexcept:
        cdef uint32_t conn = self.conn
        if conn == NO_CONN:
            return NO_CONN
        self.conn = NO_CONN
        self.dispatcher.endpoints[conn] = NULL
        events_forget(&self.dispatcher.app.queue, conn)
        if self.kept:
            self.kept = False
            Py_DECREF(self)
        return conn

    cdef void disown(self) noexcept:
        self.conn = NO_CONN

    cdef void release(self, bint reset) noexcept:
        cdef uint32_t conn = self.part()
        if conn == NO_CONN:
            return
        if reset:
            tcp_abort(self.tcp, conn)
        else:
            tcp_close(self.tcp, conn)

    cdef void abandon(self) noexcept:
        self.release(False)

    cdef int held(self) except -1:
        if self.conn == NO_CONN:
            self.dispatcher.usable()
            raise_errno(EBADF, "the connection is closed")
        return 0

    cdef int aim(self, int level, Target *target) except -1:
        """At the connection's options. A socket of IPv6 has IPv6's, and over IPv4 they are those of IPv4 that correspond."""
        self.held()
        option_target(self.tcp, self.conn, target)
        target.v6 |= self.mapped and level != <int>socket.IPPROTO_IP
        return 0

    # -- what a socket tells of itself

    def getsockname(self):
        """Our address and port, as a socket of the family tells it."""
        self.held()
        return socket_address(&self.tcp.tcbs[self.conn].local, self.tcp.tcbs[self.conn].local_port, self.mapped)

    def getpeername(self):
        """The peer's address and port."""
        self.held()
        return socket_address(&self.tcp.tcbs[self.conn].remote, self.tcp.tcbs[self.conn].remote_port, self.mapped)

    def getsockopt(self, int level, int option, int buflen=0):
        """As socket.getsockopt; OSError(ENOPROTOOPT) for options that the stack has not."""
        cdef Target target
        self.aim(level, &target)
        return option_get(&target, level, option, buflen)

    def setsockopt(self, int level, int option, value):
        """As socket.setsockopt."""
        cdef Target target
        self.aim(level, &target)
        option_set(&target, level, option, value)
        preset_change(self.tcp, target.conn, &target.preset)

    def info(self):
        """What TCP_INFO tells on Linux, by name."""
        self.held()
        return connection_info(self.tcp, self.conn)

    @property
    def family(self):
        """AF_INET or AF_INET6, after the end as well."""
        return socket.AF_INET6 if self.v6 or self.mapped else socket.AF_INET


@cython.no_gc_clear
cdef class Dispatcher:
    def __cinit__(self, Stack stack not None):
        self.stack = stack
        self.tcp = &stack.tcp
        self.limit = stack.tcp.state.limits.connections
        self.app = PythonApp(self.limit)
        self.acceptors = {}
        self.inherited = {}
        self.left = {}
        self.endpoints = <PyObject **>PyMem_RawCalloc(self.limit, sizeof(PyObject *))
        if self.endpoints == NULL:
            raise MemoryError(f"endpoints of {self.limit} connections")
        self.number = <uint8_t>stack.register_app(&self.app.app, self.app)

    def __dealloc__(self):
        PyMem_RawFree(self.endpoints)

    def refuse(self, str why):
        """From now on whatever concerns a connection or a listener raises RuntimeError: this is another process than the
        one whose they are, with the same memory. Endpoints let go of theirs, and end nothing.
        """
        cdef uint32_t conn
        self.refused = why
        for conn in range(self.limit):
            if self.endpoints[conn] != NULL:
                (<Endpoint>self.endpoints[conn]).disown()
                self.endpoints[conn] = NULL

    cpdef int usable(self) except -1:
        """See dispatch.pyi."""
        if self.refused is not None:
            raise RuntimeError(self.refused)
        return 0

    # -- opening

    def listen(self, str address, int port, uint32_t backlog, accepted):
        """Accept connections; `accepted(conn)` is called for each and holds it. Returns the listener's number.

        Raises OSError EADDRINUSE, EADDRNOTAVAIL, ENOBUFS.
        """
        cdef Address local
        cdef int error = 0
        cdef uint32_t number
        self.usable()
        if (address, port) in self.inherited:
            return self.take_over(self.inherited.pop((address, port)), accepted)
        address_from_text(address, &local)
        self.words += 1
        number = tcp_listen(self.tcp, &local, 4 if address_is_v4(&local) else 6, port, self.number, backlog, CONN_NODELAY,
                            self.words, &error)
        if number == NO_LISTENER:
            raise_errno(error, f"{address} port {port}")
        self.acceptors[self.words] = accepted
        return number

    def tune(self, uint32_t number, options):
        """Have a listener's connections begin with these options, as far as the stack has them."""
        listener = make_listener(self, self.tcp, number, (address_to_text(&self.tcp.state.listeners[number].address), 0))
        for level, option, value in options:
            with suppress(OSError):
                listener.setsockopt(level, option, value)

    cdef uint32_t take_over(self, uint32_t number, object accepted) except? 0xFFFFFFFF:
        cdef uint64_t word = self.tcp.state.listeners[number].user
        cdef uint32_t conn
        self.acceptors[word] = accepted
        for conn in self.left:
            if self.tcp.tcbs[conn].user == word:
                self.again(conn, EVENT_ACCEPTED)
        return number

    cdef bint is_awaited(self, uint32_t conn) except -1:
        """Whether the program has yet to listen where it came."""
        cdef uint32_t number
        for number in self.inherited.values():
            if self.tcp.state.listeners[number].user == self.tcp.tcbs[conn].user:
                return True
        return False

    def serves(self, str address, int port):
        """Whether there is a listener for this address."""
        cdef Address local
        address_from_text(address, &local)
        return accept_find(self.tcp, &local, port) != NO_LISTENER

    def unlisten(self, uint32_t number):
        """Accept no more."""
        if self.refused is not None:
            return
        self.acceptors.pop(self.tcp.state.listeners[number].user, None)
        tcp_unlisten(self.tcp, number)

    def connect(self, Endpoint endpoint not None, tuple address, source, options):
        """Open a connection to (address, port), for the endpoint to hold, with these options as far as the stack has them;
        see Stack.connect.
        """
        cdef Target target
        cdef Address remote
        cdef Address local
        cdef int error = 0
        cdef uint32_t conn
        self.usable()
        address_from_text(address[0], &remote)
        address_from_text(source[0] if source else ("0.0.0.0" if address_is_v4(&remote) else "::"), &local)
        target.tcp = self.tcp
        target.conn = NO_CONN
        target.listening = False
        target.v6 = not address_is_v4(&remote)
        self.tcp.now_ns = max(self.tcp.now_ns, monotonic_ns())
        preset_default(self.tcp, &target.preset)
        for level, option, value in options:
            with suppress(OSError):
                option_set(&target, level, option, value)
        conn = tcp_connect_preset(self.tcp, &local, source[1] if source else 0, &remote, address[1], self.number, 0,
                                  &target.preset, &error)
        if conn == NO_CONN:
            raise_errno(error, f"{address[0]} port {address[1]}")
        tcp_hold(self.tcp, conn)
        endpoint.hold(self, conn, False)

    # -- what happened

    cdef void again(self, uint32_t conn, uint8_t events) noexcept nogil:
        cdef EventQueue *queue = &self.app.queue
        if queue.pending[conn] == 0:
            queue.ring[queue.tail & queue.mask] = conn
            queue.tail += 1
            queue.waiting = queue.tail - queue.head
        queue.pending[conn] |= events

    cdef int accepted(self, uint32_t conn) except -1:
        acceptor = self.acceptors.get(self.tcp.tcbs[conn].user)
        if self.puts_off or (acceptor is None and self.inherited and self.is_awaited(conn)):
            self.left.setdefault(conn, None)
            return 0
        state = self.left.pop(conn, None)
        try:
            if acceptor is not None:
                acceptor(conn)
                if state is not None and self.endpoints[conn] != NULL:
                    self.resumed(<object>self.endpoints[conn], state)
        finally:
            if self.endpoints[conn] == NULL:        # its listener is gone, or nobody was made for it
                tcp_abort(self.tcp, conn)
        return 0

    cpdef void turn(self) noexcept:
        """Take in what has come and send what was written, without waiting."""
        if self.refused is not None:
            return
        self.turns(monotonic_ns())
        with nogil:
            self.stack.turn(self.turned_ns)

    cdef void turns(self, uint64_t now_ns) noexcept:
        self.turned_ns = now_ns
        self.written = 0

    cdef void wrote(self, uint32_t octets) noexcept:
        self.written += octets
        if self.written >= WRITTEN_WITHIN:
            self.turn()

    cdef void breathe(self) noexcept:
        if monotonic_ns() - self.turned_ns > TURN_WITHIN_NS:
            self.stretched += 1
            self.turn()

    cdef Endpoint step(self):
        """Tell the next one in the queue; who that was, or None where nobody has the connection."""
        cdef EventQueue *queue = &self.app.queue
        cdef uint32_t conn = queue.ring[queue.head & queue.mask]
        cdef uint8_t events = queue.pending[conn] & ~<uint8_t>STALE
        cdef Endpoint endpoint              # a reference: its callbacks may let go of it
        queue.head += 1
        queue.pending[conn] = 0
        if events & EVENT_ACCEPTED:
            self.accepted(conn)
        if self.endpoints[conn] == NULL:
            return None
        endpoint = <Endpoint>self.endpoints[conn]
        endpoint.happened(events)
        return endpoint

    def dispatch(self, slow=None, double limit_s=0):
        """Tell every endpoint what happened to it; what happens meanwhile is told the next time. `slow(endpoint, seconds)` is
        called, where given, for each whose callbacks have taken `limit_s` or longer.
        """
        cdef EventQueue *queue = &self.app.queue
        cdef uint32_t end = queue.tail
        cdef uint64_t began_ns = 0
        cdef double taken_s = 0
        cdef Endpoint endpoint
        try:
            while queue.head != end:
                if slow is not None:
                    began_ns = monotonic_ns()
                endpoint = self.step()
                if endpoint is None:
                    continue
                if slow is not None:
                    taken_s = <double>(monotonic_ns() - began_ns) / 1e9
                self.breathe()
                if slow is not None and taken_s >= limit_s:
                    slow(endpoint, taken_s)
        finally:
            queue.waiting = queue.tail - queue.head

    def close(self):
        """End every connection: what was written is still sent, as far as the loop goes on turning."""
        cdef uint32_t conn
        self.acceptors.clear()
        for conn in range(self.tcp.state.tcb_fresh):
            if self.endpoints[conn] != NULL:
                (<Endpoint>self.endpoints[conn]).abandon()

    @property
    def open(self):
        """Connections that the stack still works on, closed ones included."""
        return self.tcp.state.tcb_used

    @property
    def unacknowledged(self):
        """Octets that the stack has taken and the peers have not yet, with the FINs that follow them."""
        cdef const Tcb *tcb
        cdef uint32_t conn
        cdef uint64_t octets = 0
        for conn in range(self.tcp.state.tcb_fresh):
            tcb = &self.tcp.tcbs[conn]
            if ESTABLISHED <= tcb.state <= LAST_ACK:
                octets += <uint32_t>(tcb.snd_end - tcb.snd_una + ((tcb.flags & CONN_FIN_QUEUED) != 0))
        return octets
