"""`HttpServer`: the HTTP server's Python side. Nothing here runs for a request."""
import os
import time

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from underpass.apps.access_log cimport AccessLog
from underpass.apps.file_cache cimport FileCache
from underpass.apps.http_blocks cimport blocks_begin
from underpass.apps.http_memory cimport HttpMemory
from underpass.apps.http_resume cimport http_take_up
from underpass.apps.http_server cimport (
    http_accepted, http_closed, http_drain, http_readable, http_tick, http_writable,
)
from underpass.apps.http_state cimport STAGE, Http
from underpass.link.link cimport NEVER
from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport tcp_listen, tcp_unlisten
from underpass.tcp.tcb cimport CONN_NODELAY, MAX_LISTENERS, NO_LISTENER, App
from underpass.wire.address cimport Address, address_from_text, address_is_v4

cdef enum:
    SKIP_OCTETS = 1048576           # of a request's body


cdef class HttpServer:
    """See serve.pyi."""
    cdef Http http
    cdef readonly Stack stack
    cdef readonly FileCache files
    cdef readonly AccessLog access_log
    cdef HttpMemory _memory
    cdef object _wall
    cdef object _now
    cdef uint8_t _app
    cdef list _listeners

    def __cinit__(self, *args, **kwargs):
        memset(&self.http, 0, sizeof(Http))

    def __init__(self, Stack stack, str directory, *, AccessLog access_log=None, FileCache files=None,
                 header_timeout_s=10.0, idle_timeout_s=75.0, send_timeout_s=60.0, linger_timeout_s=5.0,
                 uint32_t requests=0, uint32_t blocks=1024, int memory=-1, uint64_t memory_at=0, wall=time.time_ns,
                 now=time.monotonic_ns):
        self.stack = stack
        self.files = files if files is not None else FileCache(directory)
        self.access_log = access_log
        self._wall = wall
        self._now = now
        self._listeners = []
        self.http.limits.header_ns = <uint64_t>(header_timeout_s * 1e9)
        self.http.limits.idle_ns = <uint64_t>(idle_timeout_s * 1e9)
        self.http.limits.send_ns = <uint64_t>(send_timeout_s * 1e9)
        self.http.limits.linger_ns = <uint64_t>(linger_timeout_s * 1e9)
        self.http.limits.skip_octets = SKIP_OCTETS
        self.http.limits.requests = requests
        self._take_memory(blocks, memory, memory_at)
        self._register()
        self.tick()

    cdef int _take_memory(self, uint32_t blocks, int memfd, uint64_t at) except -1:
        """Connection states and blocks: reserved here, touched when first used."""
        self.http.cache = &self.files.cache
        self.http.log = &self.access_log.ring if self.access_log is not None else NULL
        self.http.sweep_ns = NEVER
        self.http.capacity = self.stack.tcp.state.limits.connections
        if blocks < 1:
            raise ValueError("an HTTP server needs at least 1 block")
        self._memory = HttpMemory(self.http.capacity, blocks, self.files.cache.capacity, memfd, at)
        self.http.conns = self._memory.conns
        self.http.counters = &self._memory.header.counters
        self.http.files = self._memory.files
        self.http.blocks.capacity = blocks
        self.http.blocks.blocks, self.http.blocks.owners = self._memory.blocks, self._memory.owners
        blocks_begin(&self.http.blocks)
        self.http.stage = <uint8_t *>calloc(1, STAGE)
        if self.http.stage == NULL:
            raise MemoryError("an HTTP server's stage")
        return 0

    cdef int _register(self) except -1:
        cdef App app
        memset(&app, 0, sizeof(App))
        app.self = &self.http
        app.accepted = http_accepted
        app.readable = http_readable
        app.writable = http_writable
        app.closed = http_closed
        app.tick = http_tick
        self._app = <uint8_t>self.stack.register_app(&app, self)
        return 0

    def __dealloc__(self):
        free(self.http.stage)

    def listen(self, str address="", uint16_t port=80, uint32_t backlog=1024):
        """See serve.pyi."""
        cdef Address local
        cdef int error = 0
        cdef uint32_t listener
        text = address or "0.0.0.0"
        address_from_text(text, &local)
        if port == 0:
            raise ValueError("a port lies between 1 and 65535, not 0")
        claim = getattr(self.stack, "claim", None)      # where the port is to be taken from the kernel first
        release = claim((address, port)) if claim is not None else None
        listener = tcp_listen(&self.stack.tcp, &local, 4 if address_is_v4(&local) else 6, port, self._app,
                              backlog, CONN_NODELAY, 0, &error)
        if listener == NO_LISTENER:
            if release is not None:
                release()
            raise OSError(error, f"{os.strerror(error)}: {text} port {port}")
        self._listeners.append((listener, release))

    @property
    def open(self):
        """Connections that are open."""
        return self.http.open

    def tick(self):
        """See serve.pyi."""
        self.http.wall_ns = <int64_t>self._wall() - <int64_t>self._now()

    def drain(self):
        """See serve.pyi."""
        for listener, release in self._listeners:
            tcp_unlisten(&self.stack.tcp, listener)
            if release is not None:
                release()
        self._listeners.clear()
        http_drain(&self.stack.tcp, &self.http)

    @property
    def memory(self):
        """See serve.pyi."""
        return self._memory.memfd

    @property
    def memory_end(self):
        """See serve.pyi."""
        return self._memory.end

    def take_up(self):
        """See serve.pyi."""
        cdef uint32_t listener
        self.tick()
        reset = http_take_up(&self.stack.tcp, &self.http, self._memory, self._app, self.stack.recovery is not None)
        for listener in range(MAX_LISTENERS):
            if self.stack.tcp.state.listeners[listener].used and self.stack.tcp.state.listeners[listener].app == self._app:
                self._listeners.append((listener, None))
        return reset

    def stats(self):
        """See serve.pyi."""
        counters = {"http": {**self.http.counters[0], "open": self.http.open, "blocks": self.http.blocks.used},
                    "files": self.files.stats()}
        if self.access_log is not None:
            counters["log"] = self.access_log.stats()
        return counters
