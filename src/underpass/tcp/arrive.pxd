"""SEGMENT ARRIVES (RFC 9293 3.10.7)."""
from underpass.tcp.receive cimport Arrival
from underpass.tcp.tcb cimport Tcp

# Process one valid segment. Frames of the arrival that were kept are NO_FRAME afterwards; the caller frees the rest.
cdef void arrive(Tcp *tcp, Arrival *arrival) noexcept nogil
