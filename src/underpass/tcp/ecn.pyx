"""Explicit Congestion Notification."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.congestion.control cimport (
    Congestion, congestion_control, congestion_marked, congestion_window_used,
)
from underpass.tcp.output cimport output_control
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport (
    CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, SYN_RECEIVED, SYN_SENT, Tcb, Tcp,
)
from underpass.tcp.traits cimport (
    TRAIT_CWR, TRAIT_CWR_DUE, TRAIT_ECE, TRAIT_ECN, TRAIT_ECN_ASKED, TRAIT_EXACT_ECN,
)
from underpass.wire.segment cimport ACK, CWR, ECE, Segment
from underpass.wire.seq cimport seq_upto

cdef enum:
    ECN_FIELD = 3                   # of the traffic class (RFC 3168 5)
    CODEPOINT_CE = 3


# ---------------------------------------------------------------------------------------------- the handshake

cdef inline bint _wants(const Tcp *tcp, uint32_t congestion) noexcept nogil:
    """The policy, or a control that cannot do without."""
    return tcp.state.limits.ecn == ECN_ASK or congestion_control(congestion).traits & TRAIT_EXACT_ECN != 0


cdef bint ecn_accepts(const Tcp *tcp, uint32_t congestion) noexcept nogil:
    return tcp.state.limits.ecn != ECN_OFF or _wants(tcp, congestion)


cdef uint8_t ecn_syn_flags(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.state == SYN_RECEIVED:
        return ECE if tcb.traits & TRAIT_ECN else 0
    if tcp.colds[conn].backoff == 0:
        if not _wants(tcp, tcb.congestion):
            return 0
        tcb.traits |= TRAIT_ECN_ASKED
        return ECE | CWR
    if tcb.traits & TRAIT_ECN_ASKED:
        tcb.traits &= ~<uint32_t>TRAIT_ECN_ASKED
        tcp.state.counters.ecn_fallbacks += 1
    return 0


cdef inline bint _agrees(const Tcp *tcp, const Tcb *tcb, const Segment *syn) noexcept nogil:
    """RFC 3168 6.1.1: an ECN-setup SYN has both flags, an ECN-setup SYN-ACK has ECE alone."""
    cdef uint8_t both = syn.flags & (ECE | CWR)
    if tcb.state == SYN_SENT:
        return tcb.traits & TRAIT_ECN_ASKED != 0 and both == (ECE if syn.flags & ACK else ECE | CWR)
    return both == ECE | CWR and ecn_accepts(tcp, tcb.congestion)


cdef void ecn_take_syn(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if _agrees(tcp, tcb, syn):
        tcb.traits |= TRAIT_ECN
        tcp.state.counters.ecn_negotiated += 1


cdef void ecn_take_syn_again(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil:
    """RFC 3168 6.1.1: who has received a SYN that is not ECN-setup must not set ECT."""
    if syn.flags & (ECE | CWR) != ECE | CWR:
        tcp.tcbs[conn].traits &= ~<uint32_t>TRAIT_ECN


# ---------------------------------------------------------------------------------------------- receiving

cdef void _note_exactly(Tcp *tcp, uint32_t conn, bint marked) noexcept nogil:
    """RFC 8257 3.2: where the mark changes, what came before is acknowledged at once, with the mark that it had."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if marked == (tcb.traits & TRAIT_ECE != 0):
        return
    if tcb.rcv_nxt != tcb.rcv_acked or tcb.flags & (CONN_ACK_NOW | CONN_ACK_DELAYED):
        output_control(tcp, conn, tcb.snd_nxt, ACK)
    tcb.traits ^= TRAIT_ECE


cdef void ecn_received(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef bint marked = seg.traffic_class & ECN_FIELD == CODEPOINT_CE
    tcp.state.counters.ce_marks_in += marked
    if tcb.traits & TRAIT_EXACT_ECN:
        _note_exactly(tcp, conn, marked)
        return
    if seg.flags & CWR:
        tcb.traits &= ~<uint32_t>TRAIT_ECE
    if marked:                      # after CWR: the mark is newer than what the peer reacted to
        if not tcb.traits & TRAIT_ECE:
            tcb.flags |= CONN_ACK_NOW
        tcb.traits |= TRAIT_ECE


# ---------------------------------------------------------------------------------------------- sending

cdef void ecn_reduced(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.traits |= TRAIT_CWR | TRAIT_CWR_DUE
    rare_of(tcp, conn).cwr_end = tcb.snd_nxt


cdef void ecn_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, uint32_t octets) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const Congestion *control = congestion_control(tcb.congestion)
    cdef bint marked = seg.flags & ECE != 0
    if control.echoed != NULL:
        control.echoed(tcp, conn, octets, marked)
    if tcb.traits & TRAIT_CWR:
        if not seq_upto(rare_of(tcp, conn).cwr_end, tcb.snd_una):
            return                  # RFC 3168 6.1.2: once a window
        tcb.traits &= ~<uint32_t>TRAIT_CWR
    if marked and octets != 0 and not tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY):
        tcp.state.counters.ecn_reductions += 1
        congestion_marked(tcp, conn, congestion_window_used(tcb, octets))
