"""Tail loss probe."""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.congestion.control cimport congestion_control, congestion_window_used
from underpass.tcp.delivery cimport Delivery
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.send cimport send_again, send_one_new
from underpass.tcp.tcb cimport (
    CONN_FAST_RECOVERY, CONN_FIN_LOST, CONN_FIN_SENT, CONN_RTO_RECOVERY, Tcb, Tcp,
)
from underpass.tcp.traits cimport TRAIT_PROBE_SENT
from underpass.wire.segment cimport OPTION_SACK, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_upto


cdef uint32_t last_sent(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    """The frame with the highest sequence number that was sent, or NO_FRAME."""
    cdef uint32_t frame = tcb.snd_head
    if tcb.snd_unsent == NO_FRAME:
        return tcb.snd_tail
    if frame == tcb.snd_unsent:
        return NO_FRAME
    while tcp.pool.frames[frame].next != tcb.snd_unsent:
        frame = tcp.pool.frames[frame].next
    return frame


cdef void tlp_send(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t last
    rare.probe_again = not send_one_new(tcp, conn)
    if rare.probe_again:
        last = last_sent(tcp, tcb)
        if last != NO_FRAME:
            send_again(tcp, conn, last)
        elif tcb.flags & CONN_FIN_SENT:
            tcb.flags |= CONN_FIN_LOST          # the FIN alone is outstanding
    rare.tlp_end = tcb.snd_nxt
    tcb.traits |= TRAIT_PROBE_SENT
    tcp.state.counters.loss_probes += 1


cdef inline bint both_arrived(const TcbRare *rare, const Segment *seg, const Delivery *news) noexcept nogil:
    """The peer reports the probe, or its FIN, as a duplicate; or its ACK is one, and it does not report."""
    if news.reported:
        return seq_upto(rare.tlp_end - 1, news.reported_end)
    return news.duplicate and not seg.options & OPTION_SACK


cdef void tlp_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    if seq_before(seg.ack, rare.tlp_end):
        return
    if rare.probe_again and not both_arrived(rare, seg, news):
        if not seq_after(seg.ack, rare.tlp_end):
            return                              # one copy arrived: the other one's fate tells which
        tcp.state.counters.loss_probe_repairs += 1
        if not tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY):
            congestion_control(tcb.congestion).lost(tcp, conn, congestion_window_used(tcb, 0))
    tcb.traits &= ~<uint32_t>TRAIT_PROBE_SENT
