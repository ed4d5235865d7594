"""TIME_WAIT in entries of 96 octets instead of connection blocks (RFC 9293 3.10.7.4 and 3.6.1, RFC 6191, RFC 1337)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.wire.segment cimport Segment

cdef enum TimeWaitVerdict:
    TIME_WAIT_DROP = 0
    TIME_WAIT_ACK = 1               # answer with <SEQ=SND.NXT><ACK=RCV.NXT>
    TIME_WAIT_REOPEN = 2            # a SYN that may open the connection anew: the entry is gone

# Move a connection's key into an entry and replace it in the demultiplexer; the caller frees the connection block. At the limit
# the entry nearest its end makes room, counted.
cdef void time_wait_enter(Tcp *tcp, uint32_t conn) noexcept nogil
cdef TimeWaitVerdict time_wait_receive(Tcp *tcp, uint32_t entry, const Segment *seg) noexcept nogil
# Free what has expired. All entries last equally long, so a queue serves.
cdef void time_wait_expire(Tcp *tcp) noexcept nogil
cdef uint64_t time_wait_next_ns(const Tcp *tcp) noexcept nogil      # when the next expires, or UINT64_MAX
