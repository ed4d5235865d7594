"""TIME_WAIT in entries of 80 octets, not connection blocks (RFC 9293 3.10.7.4, RFC 6191, RFC 1337)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport TcpState, Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

cdef enum:
    NO_TIME_WAIT = 0xFFFFFFFF

cdef enum TimeWaitVerdict:
    TIME_WAIT_DROP = 0
    TIME_WAIT_ACK = 1               # answer <SEQ=SND.NXT><ACK=RCV.NXT>, as challenge ACKs are limited
    TIME_WAIT_REOPEN = 2            # a SYN that may open it anew: time_wait_reopen if it is accepted

cdef void time_wait_init(TcpState *state) noexcept nogil
# Move a connection's key into an entry and replace it in the demultiplexer; the caller frees the connection
# block. At the limit the entry nearest its end makes room, counted.
cdef void time_wait_enter(Tcp *tcp, uint32_t conn) noexcept nogil
# Judge a segment for an entry. The entry stays where it is; a retransmitted FIN begins its time again.
cdef TimeWaitVerdict time_wait_receive(Tcp *tcp, uint32_t entry, const Segment *seg) noexcept nogil
# Whether the entry may answer this segment: one in CHALLENGE_MS of those that bring nothing. A FIN that came again is always
# acknowledged.
cdef bint time_wait_may_answer(Tcp *tcp, uint32_t entry, const Segment *seg) noexcept nogil
# The entry makes way for a new connection of the same four-tuple, whose ISS must be above the SND.NXT that is
# returned (RFC 1122 4.2.2.13): see isn_above. Until this is called nothing has changed, so that a SYN for
# which there is no room is dropped, or answered by a cookie, and leaves the entry in force.
cdef seq_t time_wait_reopen(Tcp *tcp, uint32_t entry) noexcept nogil
# Whether this SYN may open it anew with `iss`, a cookie, which cannot be chosen: it lies beyond what was sent, or what is still
# on its way is told apart by timestamps.
cdef bint time_wait_takes_cookie(const Tcp *tcp, uint32_t entry, const Segment *syn, seq_t iss) noexcept nogil
# Free what has expired. All entries last equally long, so a queue serves.
cdef void time_wait_expire(Tcp *tcp) noexcept nogil
# After a crash: these entries, first to expire first, are in use, no others. They are in no table.
cdef void time_wait_rebuild(Tcp *tcp, const uint32_t *entries, uint32_t count) noexcept nogil
cdef uint64_t time_wait_next_ns(const Tcp *tcp) noexcept nogil      # when the next expires, or UINT64_MAX
