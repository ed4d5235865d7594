"""The engine alone: two stacks on a cable within one process, one asks in 64 octets, the other answers in 64.

All connections are used in turn, ACTIVE at a time, so that with 50,000 of them each comes upon state that
has left the cache. What is measured is everything between the two applications: validation, demultiplexing,
TCP both ways, headers, checksums, timers, and the cable's copy.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport tcp_connect, tcp_consume, tcp_listen, tcp_peek, tcp_prefetch, tcp_write
from underpass.tcp.tcb cimport NO_CONN, App, Tcp, TcpCounters
from underpass.wire.address cimport Address, address_v4

from underpass.link.frames import Frames
from underpass.link.memory import memory_pair

cdef enum:
    MESSAGE = 64
    ACTIVE = 64
    SOON = 4                        # questions
    PORT = 7
    PORTS_A_SOURCE = 20000
    OPEN_TIMEOUT_NS = 30000000000

cdef void nothing(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """An event that needs no answer."""


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    (<Bench *>self).closed += 1


cdef bint take_message(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const uint8_t *octets = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &octets)
    if count == 0:
        return False
    tcp_consume(tcp, conn, count)
    return count == MESSAGE


cdef void on_asked(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """The server: a message comes, a message goes."""
    while take_message(tcp, conn):
        tcp_write(tcp, conn, (<Bench *>self).message, MESSAGE)


cdef void on_connected(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    cdef Bench *bench = <Bench *>self
    bench.opened[bench.established] = conn
    bench.established += 1


cdef void on_answered(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """The client: the next connection in turn asks."""
    cdef Bench *bench = <Bench *>self
    while take_message(tcp, conn):
        bench.transactions += 1
        if bench.running:
            ask(tcp, bench)


cdef void ask(Tcp *tcp, Bench *bench) noexcept nogil:
    cdef uint32_t conn = bench.opened[bench.cursor]
    bench.cursor = bench.cursor + 1 if bench.cursor + 1 < bench.established else 0
    if bench.cursor + SOON < bench.established:
        tcp_prefetch(tcp, bench.opened[bench.cursor + SOON])
    tcp_write(tcp, conn, bench.message, MESSAGE)


cdef uint64_t clock_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


cdef class EngineBench:
    """Two stacks with `connections` connections between them. Raises RuntimeError if they do not open."""

    def __cinit__(self, uint32_t connections):
        memset(&self.bench, 0, sizeof(Bench))
        if not 1 <= connections <= 200000:
            raise ValueError(f"{connections} connections; the bench opens 1 to 200000")
        self.connections = connections
        self.bench.opened = <uint32_t *>calloc(connections, sizeof(uint32_t))
        if self.bench.opened == NULL:
            raise MemoryError(f"{connections} connections")
        memset(self.bench.message, 120, MESSAGE)

    def __init__(self, uint32_t connections):
        self._make()
        self._register()
        self._open()

    def __dealloc__(self):
        free(self.bench.opened)

    cdef int _make(self) except -1:
        """The client, and the server that has its connections."""
        links = memory_pair(Frames(FRAMES), Frames(FRAMES))
        self.client, self.server = self._client_on(links[0]), self._server_on(links[1])
        return 0

    cdef Stack _client_on(self, link):
        sources = (self.connections + PORTS_A_SOURCE - 1) // PORTS_A_SOURCE
        return self._stack(link, 1, 2, [f"10.0.1.{i + 1}" for i in range(sources)])

    cdef Stack _server_on(self, link):
        return self._stack(link, 2, 1, ["10.0.0.2"])

    def _stack(self, link, int number, int other, addresses):
        """A stack that knows the other without asking."""
        stack = Stack(link, bytes([2, 0, 0, 0, 0, number]), seed=bytes(16), connections=self.connections + 1)
        stack.set_addresses([(address, 16) for address in addresses])
        stack.set_routes([("10.0.0.0", 16, None, None, 0, 0)])
        for address in (["10.0.0.2"] if other == 2 else [f"10.0.1.{i + 1}" for i in range(16)]):
            stack.set_neighbour(address, bytes([2, 0, 0, 0, 0, other]))
        return stack

    cdef int _register(self) except -1:
        cdef App app
        cdef int error = 0
        cdef Address address = address_v4(b"\x0a\x00\x00\x02")
        memset(&app, 0, sizeof(App))
        app.self = &self.bench
        app.accepted = app.connected = app.writable = nothing
        app.closed = on_closed
        app.readable = on_asked
        self.server.turn(clock_ns())
        from_server = self.server.register_app(&app, self)
        tcp_listen(&self.server.tcp, &address, 4, PORT, <uint8_t>from_server, 4096, 0, 0, &error)
        if error:
            raise OSError(error, "the bench cannot listen")
        app.connected = on_connected
        app.readable = on_answered
        self.client_app = <uint8_t>self.client.register_app(&app, self)
        return 0

    cdef int _open(self) except -1:
        cdef uint64_t end_ns = clock_ns() + OPEN_TIMEOUT_NS
        cdef uint32_t asked = 0
        while self.bench.established < self.connections:
            while asked < self.connections and asked - self.bench.established < 1024:
                self._connect(asked)
                asked += 1
            self._turns(1)
            if clock_ns() > end_ns or self.bench.closed:
                raise RuntimeError(f"{self.bench.established} of {self.connections} connections were opened")
        return 0

    cdef int _connect(self, uint32_t number) except -1:
        cdef int error = 0
        cdef Address remote = address_v4(b"\x0a\x00\x00\x02")
        cdef uint8_t[4] octets
        cdef Address local
        octets[:] = [10, 0, 1, 1 + number // PORTS_A_SOURCE]
        local = address_v4(octets)
        if tcp_connect(&self.client.tcp, &local, 0, &remote, PORT, self.client_app, 0, &error) == NO_CONN:
            raise OSError(error, f"connection {number} cannot be opened")
        return 0

    cdef void _turns(self, uint32_t count) noexcept nogil:
        cdef uint32_t _
        for _ in range(count):
            self.client.turn(clock_ns())
            self.server.turn(clock_ns())

    def run(self, double seconds):
        """Ask and answer for so long. Returns transactions, segments and nanoseconds.

        `segment_ns` is the time for each segment that either engine handled, in or out; `transaction_ns` that
        for a question and its answer, at both ends.
        """
        cdef uint64_t start_ns, end_ns, stop_ns
        cdef uint64_t before = self._segments()
        cdef uint32_t _
        self.bench.transactions = 0
        self.bench.running = True
        start_ns = clock_ns()
        stop_ns = start_ns + <uint64_t>(seconds * 1e9)
        with nogil:
            for _ in range(min(<uint32_t>ACTIVE, self.connections)):
                ask(&self.client.tcp, &self.bench)
            while clock_ns() < stop_ns:
                self._turns(16)
            end_ns = clock_ns()
            self.bench.running = False
            self._turns(64)
        segments = self._segments() - before
        if self.bench.transactions == 0 or self.bench.closed:
            raise RuntimeError(f"{self.bench.closed} connections lost in {self.bench.transactions} questions")
        return {
            "connections": self.connections, "transactions": self.bench.transactions, "segments": segments,
            "seconds": (end_ns - start_ns) / 1e9, "segment_ns": (end_ns - start_ns) / segments,
            "transaction_ns": (end_ns - start_ns) / float(self.bench.transactions),
        }

    cdef uint64_t _segments(self) noexcept:
        cdef TcpCounters *asked = &self.client.tcp.state.counters
        cdef TcpCounters *answered = &self.server.tcp.state.counters
        return asked.segments_in + asked.segments_out + answered.segments_in + answered.segments_out

    def bytes_per_connection(self):
        """Shared memory of the arena for each connection that it has room for."""
        return self.server.arena.bytes / self.connections

    def close(self):
        """Release both stacks."""
        self.client.close()
        self.server.close()
