"""An HTTP load generator as a native application: `underpass load`.

Closed loop: each connection sends its next request when its answer is complete. Open loop: requests are due
on a schedule, `rate` a second; one that finds no free connection waits, and its latency counts from when it
was due, so that a server that stalls cannot hide it (no coordinated omission). Times are those of the turns.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from underpass.apps.histogram cimport histogram_reset, histogram_summary, histogram_tally
from underpass.apps.load_native cimport FAILURES, Exchange, Load, load_app, load_close
from underpass.stack.stack cimport Stack
from underpass.tcp.tcb cimport NO_CONN, App
from underpass.wire.address cimport Address, address_v4, address_v6

import os
import socket

FAILURE_NAMES = ("refused", "unreachable", "no free port", "connect", "reset", "timeout", "cut off",
                 "malformed", "output")


cdef Address address_of(str text) except *:
    cdef bytes octets = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    cdef const uint8_t *at = octets
    return address_v6(at) if len(octets) == 16 else address_v4(at)


cdef class LoadClient:
    """Sends `request` over and over to (address, port) from a stack, as soon as the stack runs.

    `rate` in requests/s makes it an open loop; `requests` and `duration_s` end it (0: not by that); `sources`
    are addresses of the stack to connect from, in turn. `output` is a descriptor that bodies are written to.
    The stack's `run` returns when the load is over. Raises ValueError for what makes no sense together.
    """
    cdef Load load
    cdef readonly Stack stack
    cdef bytes _request

    def __cinit__(self, Stack stack, str address, uint16_t port, bytes request, *, uint32_t connections=50,
                  double duration_s=10, double rate=0, bint keep_alive=True, uint64_t requests=0, sources=(),
                  double timeout_s=10, int output=-1):
        cdef Load *load = &self.load
        memset(load, 0, sizeof(Load))
        if connections < 1 or connections > stack.arena.header.connections:
            raise ValueError(f"{connections} connections; this stack has room for 1 to "
                             f"{stack.arena.header.connections}")
        if duration_s <= 0 and requests == 0:
            raise ValueError("a load ends by its duration or by its number of requests; give one of them")
        if rate < 0 or timeout_s <= 0:
            raise ValueError("rate and timeout are positive")
        self.stack = stack
        self._request = request
        load.request = self._request
        load.request_bytes = <uint32_t>len(request)
        load.connections = connections
        load.request_limit = requests
        load.duration_ns = <uint64_t>(max(duration_s, 0) * 1e9)
        load.timeout_ns = <uint64_t>(timeout_s * 1e9)
        load.period_ns = 1e9 / rate if rate else 0
        load.keep_alive = keep_alive
        load.to_head = request.startswith(b"HEAD ")
        load.port = port
        load.remote = address_of(address)
        load.output = output
        load.idle_head = load.idle_tail = NO_CONN
        load.stopping = &stack.stopping
        histogram_reset(&load.latency)
        histogram_reset(&load.connecting)
        self._tables(list(sources) or ["::" if ":" in address else "0.0.0.0"])
        self._register()

    def __dealloc__(self):
        free(self.load.exchanges)
        free(self.load.sources)

    cdef int _tables(self, list sources) except -1:
        cdef Load *load = &self.load
        cdef uint32_t i
        load.exchange_count = self.stack.arena.header.connections
        load.source_count = <uint32_t>len(sources)
        load.exchanges = <Exchange *>calloc(load.exchange_count, sizeof(Exchange))
        load.sources = <Address *>calloc(load.source_count, sizeof(Address))
        if load.exchanges == NULL or load.sources == NULL:
            raise MemoryError(f"no memory for {load.exchange_count} connections")
        for i in range(load.source_count):
            load.sources[i] = address_of(sources[i])
        return 0

    cdef int _register(self) except -1:
        cdef App app = load_app(&self.load)
        self.load.app = <uint8_t>self.stack.register_app(&app, self)
        return 0

    def close(self):
        """End every connection that is still there, by a reset where a request is under way."""
        load_close(&self.load, &self.stack.tcp)

    @property
    def over(self):
        """Whether the load has ended."""
        return bool(self.load.over)

    @property
    def open(self):
        """Connections that are established now."""
        return self.load.open - self.load.opening

    def tally(self):
        """See load.pyi."""
        cdef Load *load = &self.load
        cdef uint64_t end_ns = load.end_ns if load.over else self.stack.tcp.now_ns
        return {
            "load": {"requests": load.answered, "bytes": load.octets, "connections": load.established,
                     "ns": end_ns - load.start_ns if load.started else 0, "clients": 1},
            "status": {f"{i}xx": load.statuses[i] for i in range(1, 6) if load.statuses[i]},
            "errors": {FAILURE_NAMES[i]: load.failures[i] for i in range(FAILURES) if load.failures[i]},
            "latency_ns": histogram_tally(&load.latency), "connect_ns": histogram_tally(&load.connecting),
        }

    def results(self):
        """What was measured, as a dictionary for JSON: counts, bytes, seconds, latencies in nanoseconds."""
        cdef Load *load = &self.load
        cdef uint64_t end_ns = load.end_ns if load.over else self.stack.tcp.now_ns
        cdef double seconds = (end_ns - load.start_ns) / 1e9 if load.started else 0.0
        statuses = {f"{i}xx": load.statuses[i] for i in range(1, 6) if load.statuses[i]}
        errors = {FAILURE_NAMES[i]: load.failures[i] for i in range(FAILURES) if load.failures[i]}
        return {
            "requests": load.answered, "seconds": seconds,
            "requests_per_s": load.answered / seconds if seconds else 0.0,
            "bytes": load.octets, "connections": load.established, "status": statuses, "errors": errors,
            "last_error": os.strerror(load.last_errno) if load.last_errno else None,
            "latency_ns": histogram_summary(&load.latency),
            "connect_ns": histogram_summary(&load.connecting),
        }
