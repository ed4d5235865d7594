"""The bulk application as Python sees it: listeners, a plan, results."""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINVAL
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

import os
import random
import struct

from underpass.apps.bulk.bulk_native cimport (
    FLAG_WAIT, HEAD_BYTES as HEAD_OCTETS, PATTERN_BYTES, PATTERN_PERIOD, SERVER_PHASE as PHASE, Bulk as NativeBulk, Flow,
    bulk_app, bulk_over,
)
from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport tcp_listen
from underpass.tcp.congestion.control cimport CONGESTION_CONTROLS, congestion_control
from underpass.tcp.tcb cimport NO_LISTENER, App
from underpass.wire.address cimport Address, address_from_text, address_is_v4

HEAD_BYTES = <int>HEAD_OCTETS
SERVER_PHASE = <int>PHASE
MIB = 1 << 20

cdef bytes PERIOD = random.Random(793).randbytes(PATTERN_PERIOD)
cdef bytes PATTERN = (PERIOD * (PATTERN_BYTES // PATTERN_PERIOD + 1))[:PATTERN_BYTES]


def head(uint64_t up, uint64_t down, bint wait):
    """What a client sends first."""
    return struct.pack("!QQB", up, down, FLAG_WAIT if wait else 0)


def piece(uint64_t at, bint server=False):
    """1 MiB of a stream, the client's or the server's, from octet `at` on."""
    start = (at + (PHASE if server else 0)) % PATTERN_PERIOD
    return memoryview(PATTERN)[start:start + MIB]


def matches(octets, uint64_t at, bint server=False):
    """Whether the octets (1 MiB at most) are those that stand at `at` of that stream."""
    cdef Py_buffer view
    cdef const uint8_t *pattern = PATTERN
    PyObject_GetBuffer(octets, &view, PyBUF_SIMPLE)
    try:
        if view.len > MIB:
            raise ValueError(f"at most {MIB} octets are compared at a time, not {view.len}")
        return memcmp(view.buf, pattern + (at + (PHASE if server else 0)) % PATTERN_PERIOD, <size_t>view.len) == 0
    finally:
        PyBuffer_Release(&view)


def congestion_names():
    """The congestion controls that there are."""
    return [congestion_control(it).name.decode() for it in range(CONGESTION_CONTROLS)]


cdef uint8_t congestion_by_name(str name) except 255:
    names = congestion_names()
    if name not in names:
        raise ValueError(f"no congestion control {name!r}; there are {', '.join(names)}")
    return names.index(name)


cdef class Bulk:
    """A source and sink of octets on a stack: server of any number of listeners, and client of one plan at a time."""
    cdef NativeBulk native
    cdef readonly Stack stack

    def __cinit__(self, Stack stack not None, str congestion="cubic", bint verify=True):
        cdef App app
        memset(&self.native, 0, sizeof(NativeBulk))
        self.stack = stack
        self.native.pattern = PATTERN
        self.native.verify = verify
        self.native.congestion = congestion_by_name(congestion)
        self.native.stopping = &stack.stopping
        self.native.flows = <Flow *>calloc(stack.arena.header.connections, sizeof(Flow))
        if self.native.flows == NULL:
            raise MemoryError(f"{stack.arena.header.connections} connections")
        app = bulk_app(&self.native)
        self.native.app = <uint8_t>stack.register_app(&app, self)

    def __dealloc__(self):
        free(self.native.flows)

    def choose(self, str congestion):
        """The congestion control of connections from now on. Raises ValueError where there is none of that name."""
        self.native.congestion = congestion_by_name(congestion)

    def listen(self, str address, uint16_t port, uint32_t backlog=4096):
        """Serve on (address, port); "" is every IPv4 address, "::" every IPv6 one. Raises OSError."""
        cdef Address local
        cdef int error = EINVAL
        address_from_text(address or "0.0.0.0", &local)
        if tcp_listen(&self.stack.tcp, &local, 4 if address_is_v4(&local) else 6, port, self.native.app, backlog, 0, 0,
                      &error) == NO_LISTENER:
            raise OSError(error, f"{os.strerror(error)}: {address} port {port}")

    def connect(self, str address, uint16_t port, *, uint32_t connections=1, uint32_t at_a_time=1, uint64_t up=0,
                uint64_t down=0, bint wait=False):
        """Open so many connections, each to send `up` octets and to ask for `down`; `wait`: one after the other."""
        self.reset()
        address_from_text(address, &self.native.remote)
        self.native.port = port
        self.native.at_a_time = at_a_time
        self.native.up, self.native.down, self.native.wait = up, down, wait
        self.native.total = connections

    def reset(self):
        """Counts begin anew, and no more connections are opened."""
        self.native.total = self.native.opened = 0
        self.native.start_ns = self.native.end_ns = 0
        self.native.completed = self.native.failed = self.native.cut_short = self.native.mismatched = 0
        self.native.octets_in = self.native.octets_out = 0
        self.native.last_errno = 0

    @property
    def over(self):
        """Whether what connect() asked for is done."""
        return bool(bulk_over(&self.native))

    def results(self):
        """Counts since the last call of connect() or reset()."""
        cdef NativeBulk *it = &self.native
        return {"completed": it.completed, "failed": it.failed, "cut_short": it.cut_short,
                "mismatched": it.mismatched, "octets_in": it.octets_in, "octets_out": it.octets_out, "open": it.open,
                "seconds": (it.end_ns - it.start_ns) / 1e9 if it.end_ns else 0.0,
                "error": os.strerror(it.last_errno) if it.last_errno else ""}
