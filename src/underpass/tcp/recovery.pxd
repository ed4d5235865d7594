"""Loss recovery: with SACK by RACK-TLP (RFC 8985) and PRR (RFC 6937), without by RFC 6582; and after timeouts.

                     loss seen                      `recover` acknowledged
    (neither) ---------------------> FAST_RECOVERY ------------------------> (neither)
        |                                 | timeout                             ^
        '---- timeout ----------> RTO_RECOVERY ---------------------------------'
    and back from both when the reduction of the window turns out to be a mistake: see tcp/undo.pxd.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.delivery cimport Delivery
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PROBE_SENT, TRAIT_SACKED
from underpass.wire.segment cimport Segment

# Enter recovery, go on with it or leave it, as the acknowledgment tells. Returns when to look again for what is
# lost by then, or 0.
cdef uint64_t recovery_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil
# `acked` octets were acknowledged, and nothing is or was missing: the window may grow.
cdef void recovery_grow(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
# The reordering timer fired (RFC 8985 6.2 step 5). Returns when to look again, or 0.
cdef uint64_t recovery_overdue(Tcp *tcp, uint32_t conn) noexcept nogil
# The retransmission timer fired (RFC 6298 5.4 to 5.6, RFC 5681 3.1).
cdef void recovery_timeout(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline bint recovery_concerned(const Tcb *tcb, const Delivery *news) noexcept nogil:
    """Whether an acknowledgment is more than the next one in an undisturbed row."""
    return (tcb.sacked_bytes | tcb.lost_bytes) != 0 or tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) or \
        tcb.traits & (TRAIT_SACKED | TRAIT_PROBE_SENT) or news.duplicate | news.reported
