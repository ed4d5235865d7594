"""A trace's memory, and what it follows."""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from underpass.link.spool cimport SPOOL_TRACE, SpoolMemory
from underpass.tcp.tcb cimport NO_CONN, Tcp
from underpass.tcp.trace cimport CAUSE_TURN, Trace, trace_find, trace_look
from underpass.wire.address cimport address_from_text


cdef class Tracer:
    """A trace of the first connection with this remote address (None: any), and these ports (0: any).

    Raises ValueError for what is out of range, OSError where there is no memory.
    """

    def __cinit__(self, str remote, int remote_port, int local_port, uint64_t ring_bytes):
        memset(&self.trace, 0, sizeof(Trace))
        for port in (remote_port, local_port):
            if not 0 <= port <= 65535:
                raise ValueError(f"a port lies between 0 (any) and 65535, not {port}")
        self.trace.any_remote = remote is None
        if remote is not None:
            address_from_text(remote, &self.trace.remote)
        self.trace.remote_port, self.trace.local_port = remote_port, local_port
        self.memory = SpoolMemory(b"underpass-trace", "a trace", SPOOL_TRACE, ring_bytes)
        self.trace.spool = self.memory.spool
        self.trace.conn = NO_CONN

    cdef void attach(self, Tcp *tcp, bint there) noexcept:
        tcp.trace = &self.trace
        if there:
            self.trace.conn = trace_find(tcp, &self.trace)
            trace_look(tcp, CAUSE_TURN)

    cdef void detach(self, Tcp *tcp) noexcept:
        tcp.trace = NULL
