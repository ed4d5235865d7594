"""Connections and listeners for Python: a thin layer over tcp/api.pxd, with the errors that non-blocking sockets give."""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EBADF, ENOTCONN, EPIPE
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os

from underpass.link.frames cimport frame_payload
from underpass.stack.inspect cimport connection_info, state_name
from underpass.stack.options cimport Target, option_get, option_set, option_target
from underpass.tcp.api cimport (
    tcp_abort, tcp_at_end, tcp_close, tcp_consume, tcp_handle, tcp_hold, tcp_peek, tcp_readable, tcp_resolve,
    tcp_shutdown, tcp_unlisten, tcp_want_writable, tcp_write,
)
from underpass.tcp.preset cimport preset_change
from underpass.tcp.tcb cimport (
    CLOSE_WAIT, CONN_FIN_QUEUED, ESTABLISHED, EVENT_ACCEPTED, EVENT_CLOSED, EVENT_CONNECTED, EVENT_READABLE,
    EVENT_WRITABLE, NO_CONN, SYN_RECEIVED, SYN_SENT, Tcb, Tcp,
)
from underpass.tcp.traits cimport TRAIT_FAST_OPEN_PENDING
from underpass.tcp.urgent cimport urgent_left, urgent_queue
from underpass.wire.address cimport address_to_text


# ------------------------------------------------------------------------------------------ events

cdef void remember(EventQueue *queue, uint32_t conn, uint8_t event) noexcept nogil:
    if queue.pending[conn] == 0:
        queue.ring[queue.tail & queue.mask] = conn
        queue.tail += 1
        queue.waiting = queue.tail - queue.head
    queue.pending[conn] |= event


cdef void events_forget(EventQueue *queue, uint32_t conn) noexcept nogil:
    if queue.pending[conn]:
        queue.pending[conn] = STALE


cdef void on_accepted(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    tcp_hold(tcp, conn)
    events_forget(<EventQueue *>self, conn)
    remember(<EventQueue *>self, conn, EVENT_ACCEPTED)


cdef void on_connected(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    remember(<EventQueue *>self, conn, EVENT_CONNECTED)


cdef void on_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    remember(<EventQueue *>self, conn, EVENT_READABLE)


cdef void on_writable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    remember(<EventQueue *>self, conn, EVENT_WRITABLE)


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    remember(<EventQueue *>self, conn, EVENT_CLOSED)


cdef void on_noticed(Tcp *tcp, uint32_t conn, uint8_t events, void *self) noexcept nogil:
    remember(<EventQueue *>self, conn, events)


cdef class PythonApp:
    """Collects events for at most `limit` connections."""

    def __cinit__(self, uint32_t limit):
        cdef uint32_t slots = 64
        while slots < limit:
            slots *= 2
        memset(&self.app, 0, sizeof(App))
        memset(&self.queue, 0, sizeof(EventQueue))
        self.limit = limit
        self.queue.ring = <uint32_t *>calloc(slots, sizeof(uint32_t))
        self.queue.pending = <uint8_t *>calloc(limit, 1)
        if self.queue.ring == NULL or self.queue.pending == NULL:
            raise MemoryError(f"event queue for {limit} connections")
        self.queue.mask = slots - 1
        self.app.self = &self.queue
        self.app.accepted = on_accepted
        self.app.connected = on_connected
        self.app.readable = on_readable
        self.app.writable = on_writable
        self.app.closed = on_closed
        self.app.noticed = on_noticed

    def __dealloc__(self):
        free(self.queue.ring)
        free(self.queue.pending)


# ------------------------------------------------------------------------------------------ connections

cdef Connection make_connection(object owner, dict register, Tcp *tcp, uint32_t conn):
    cdef Connection it = Connection.__new__(Connection)
    cdef Tcb *tcb = &tcp.tcbs[conn]
    it.owner = owner
    it.register = register
    register[conn] = it
    it.tcp = tcp
    it.handle = tcp_handle(tcp, conn)
    it.local = (address_to_text(&tcb.local), tcb.local_port)
    it.remote = (address_to_text(&tcb.remote), tcb.remote_port)
    return it


cdef int raise_errno(int number) except -1:
    raise OSError(number, os.strerror(number))


@cython.no_gc_clear                 # closing needs its stack
cdef class Connection:
    """One TCP connection of a Stack. Nothing blocks: what a non-blocking socket refuses with EAGAIN raises BlockingIOError.

    `local` and `remote` are (address, port). `data` belongs to the application. The Stack keeps a connection until
    close() or abort(), or until its CLOSED event has been seen.
    """

    cdef uint32_t index(self) except? 0xFFFFFFFF:
        cdef uint32_t conn = tcp_resolve(self.tcp, self.handle)
        if conn == NO_CONN:
            raise_errno(EBADF)
        return conn

    cpdef object index_or_none(self):
        """The connection's index while it is ours, else None."""
        cdef uint32_t conn = tcp_resolve(self.tcp, self.handle)
        return None if conn == NO_CONN else conn

    def __dealloc__(self):
        cdef uint32_t conn
        if self.tcp != NULL and self.owner is not None:
            conn = tcp_resolve(self.tcp, self.handle)
            if conn != NO_CONN:
                tcp_close(self.tcp, conn)

    def __repr__(self):
        return f"<Connection {self.local[0]}:{self.local[1]} - {self.remote[0]}:{self.remote[1]} {self.state}>"

    @property
    def state(self):
        """The state's name in RFC 9293: "ESTABLISHED" and so on; "CLOSED" once it is gone."""
        cdef uint32_t conn = tcp_resolve(self.tcp, self.handle)
        return "CLOSED" if conn == NO_CONN else state_name(self.tcp.tcbs[conn].state)

    cdef uint32_t readable_index(self) except? 0xFFFFFFFE:
        """The index where there is something to read; NO_CONN at the end of the stream."""
        cdef uint32_t conn = self.index()
        if tcp_readable(self.tcp, conn):
            return conn
        if self.tcp.colds[conn].error:
            raise_errno(self.tcp.colds[conn].error)
        if tcp_at_end(self.tcp, conn):
            return NO_CONN
        raise_errno(ENOTCONN if self.tcp.tcbs[conn].state < SYN_SENT else EAGAIN)

    def recv(self, size_t limit=65536):
        """At most `limit` octets; b"" at the end of the stream. BlockingIOError: nothing is there yet."""
        cdef uint32_t conn = self.readable_index()
        cdef bytes result
        if conn == NO_CONN or limit == 0:
            return b""
        if limit > tcp_readable(self.tcp, conn):
            limit = tcp_readable(self.tcp, conn)
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>limit)
        take(self.tcp, conn, <uint8_t *>PyBytes_AS_STRING(result), limit)
        return result

    def peek(self, size_t limit=65536):
        """As recv(), and they can be received again."""
        cdef uint32_t conn = self.readable_index()
        cdef bytes result
        if conn == NO_CONN:
            return b""
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>min(limit, <size_t>tcp_readable(self.tcp, conn)))
        look_at(self.tcp, conn, <uint8_t *>PyBytes_AS_STRING(result), <size_t>len(result))
        return result

    def recv_into(self, buffer):
        """Fill a writable buffer as far as there is something; returns the octets, 0 at the end of the stream."""
        cdef Py_buffer view
        cdef uint32_t conn = self.readable_index()
        cdef size_t count = 0
        if conn == NO_CONN:
            return 0
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            count = min(<size_t>view.len, <size_t>tcp_readable(self.tcp, conn))
            take(self.tcp, conn, <uint8_t *>view.buf, count)
        finally:
            PyBuffer_Release(&view)
        return count

    def send(self, data):
        """Queue octets; returns how many were taken. BlockingIOError: no room now, WRITABLE will tell."""
        cdef Py_buffer view
        cdef uint32_t conn = self.index()
        cdef uint32_t done
        cdef Tcb *tcb = &self.tcp.tcbs[conn]
        if self.tcp.colds[conn].error:
            raise_errno(self.tcp.colds[conn].error)
        if not tcb.traits & TRAIT_FAST_OPEN_PENDING and (tcb.state == SYN_SENT or tcb.state == SYN_RECEIVED):
            raise_errno(EAGAIN)
        if tcb.flags & CONN_FIN_QUEUED or (tcb.state != ESTABLISHED and tcb.state != CLOSE_WAIT and
                                           not tcb.traits & TRAIT_FAST_OPEN_PENDING):
            raise_errno(EPIPE)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            done = tcp_write(self.tcp, conn, <const uint8_t *>view.buf, <uint32_t>min(view.len, 1 << 30))
            if done == 0 and view.len:
                raise_errno(EAGAIN)
            return done
        finally:
            PyBuffer_Release(&view)

    def send_urgent(self, data):
        """Queue octets as send() does; what is queued up to their end is urgent. New protocols do without (RFC 6093 5)."""
        taken = self.send(data)
        urgent_queue(self.tcp, self.index())
        return taken

    @property
    def urgent(self):
        """Octets that recv() has yet to give, those on their way counted, up to the end of the peer's urgent data."""
        return urgent_left(self.tcp, self.index())

    def want_writable(self):
        """Ask for a WRITABLE event when there is room to send."""
        tcp_want_writable(self.tcp, self.index())

    def shutdown(self):
        """Send no more: FIN follows what is queued. Receiving goes on."""
        cdef uint32_t conn = self.index()
        if self.tcp.tcbs[conn].state < SYN_RECEIVED:
            raise_errno(ENOTCONN)
        tcp_shutdown(self.tcp, conn)

    cdef uint32_t forget(self) except? 0xFFFFFFFF:
        """The index, where it is still ours; the Stack keeps the connection no longer."""
        cdef uint32_t conn = tcp_resolve(self.tcp, self.handle)
        if conn != NO_CONN:
            self.register.pop(conn, None)
        return conn

    def close(self):
        """Let go. What is queued is still sent; octets received and not read make it a reset (RFC 2525 2.17)."""
        cdef uint32_t conn = self.forget()
        if conn != NO_CONN:
            tcp_close(self.tcp, conn)

    def abort(self):
        """Reset the connection now."""
        cdef uint32_t conn = self.forget()
        if conn != NO_CONN:
            tcp_abort(self.tcp, conn)

    def getsockopt(self, int level, int option, int buflen=0):
        """As socket.getsockopt, for the options in docs/python.md; OSError(ENOPROTOOPT) for others.

        Without `buflen` an int, or the octets of a structure or a name.
        """
        cdef Target target
        option_target(self.tcp, self.index(), &target)
        return option_get(&target, level, option, buflen)

    def setsockopt(self, int level, int option, value):
        """As socket.setsockopt; TCP_CONGESTION takes a name as bytes or str."""
        cdef Target target
        option_target(self.tcp, self.index(), &target)
        option_set(&target, level, option, value)
        preset_change(self.tcp, target.conn, &target.preset)

    def info(self):
        """What TCP_INFO tells on Linux, by name: state, rtt_us, cwnd_bytes, retransmits, ..."""
        return connection_info(self.tcp, self.index())


cdef void take(Tcp *tcp, uint32_t conn, uint8_t *into, size_t count) noexcept nogil:
    cdef const uint8_t *at = NULL
    cdef size_t done = 0
    cdef size_t here
    while done < count:
        here = tcp_peek(tcp, conn, &at)
        if here > count - done:
            here = count - done
        memcpy(into + done, at, here)
        tcp_consume(tcp, conn, <uint32_t>here)
        done += here


cdef void look_at(const Tcp *tcp, uint32_t conn, uint8_t *into, size_t count) noexcept nogil:
    """As take(), and leave them there."""
    cdef uint32_t frame = tcp.tcbs[conn].rcv_head
    cdef size_t done = 0
    cdef size_t here
    while done < count:
        here = min(<size_t>tcp.pool.frames[frame].length, count - done)
        memcpy(into + done, frame_payload(tcp.pool, frame), here)
        done += here
        frame = tcp.pool.frames[frame].next


# ------------------------------------------------------------------------------------------ listeners

cdef Listener make_listener(object owner, Tcp *tcp, uint32_t number, tuple address):
    cdef Listener it = Listener.__new__(Listener)
    it.owner = owner
    it.tcp = tcp
    it.number = number
    it.address = address
    return it


cdef class Listener:
    """An address and port on which a Stack accepts connections; they come as ACCEPTED events of poll()."""

    cdef int target(self, Target *target) except -1:
        if self.tcp == NULL:
            raise_errno(EBADF)
        target.tcp = self.tcp
        target.conn = NO_CONN
        target.listening = True
        target.listener = self.number
        target.v6 = ":" in self.address[0]
        target.preset = self.tcp.state.listeners[self.number].preset
        return 0

    def getsockopt(self, int level, int option, int buflen=0):
        """As Connection.getsockopt."""
        cdef Target target
        self.target(&target)
        return option_get(&target, level, option, buflen)

    def setsockopt(self, int level, int option, value):
        """As Connection.setsockopt: the connections accepted from now on begin with it."""
        cdef Target target
        self.target(&target)
        option_set(&target, level, option, value)
        self.tcp.state.listeners[self.number].preset = target.preset

    def close(self):
        """Accept no more. Connections accepted before stay."""
        if self.tcp != NULL:
            tcp_unlisten(self.tcp, self.number)
            self.tcp = NULL
