"""A trace of one connection (see tcp/trace.pxd), with what it needs."""
from underpass.link.spool cimport SpoolMemory
from underpass.tcp.tcb cimport Tcp
from underpass.tcp.trace cimport Trace


cdef class Tracer:
    """A trace, and its memory."""
    cdef Trace trace
    cdef readonly SpoolMemory memory

    # Begin, and end. With `there` a connection that there is already may be followed, else only one to come.
    cdef void attach(self, Tcp *tcp, bint there) noexcept
    cdef void detach(self, Tcp *tcp) noexcept
