"""The reordering window of RACK, and how it adapts to the path."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FRAME_EVER_RETRANSMITTED, Frame
from underpass.tcp.rare cimport WATCHED, TcbRare, rare_of
from underpass.tcp.scoreboard cimport DUP_THRESH
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_REORDERING_SEEN
from underpass.wire.seq cimport seq_t, seq_upto, seq_within

cdef enum:
    STEPS_MOST = 255


cdef inline bint enough_to_tell(const Tcb *tcb) noexcept nogil:
    """As many segments reported as three duplicate ACKs would have stood for, or recovery has begun."""
    return tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) or \
        tcb.sacked_bytes > (DUP_THRESH - 1) * <uint32_t>tcb.mss


cdef uint64_t reordering_window_ns(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t srtt_us = tcb.srtt_us >> 3
    cdef uint64_t window_us, late_us
    if not tcb.traits & TRAIT_REORDERING_SEEN and enough_to_tell(tcb):
        return 0
    window_us = min((1 + <uint64_t>rare.reo_steps) * tcp.colds[conn].rtt_min_us >> 2, <uint64_t>srtt_us)
    late_us = min(<uint64_t>rare.late_us + (rare.late_us >> 2), <uint64_t>max(srtt_us, <uint32_t>LATE_MOST_US))
    return max(window_us, late_us) * 1000


cdef inline void note_lateness(const Tcp *tcp, const Tcb *tcb, TcbRare *rare, uint64_t sent_ns) noexcept nogil:
    """By how much later than one that was sent after it, and had the round trip of RACK, a segment came."""
    cdef uint64_t took_us = (tcp.now_ns - sent_ns) // 1000
    if took_us > tcb.rack_rtt_us and took_us - tcb.rack_rtt_us > rare.late_us:
        rare.reo_persist = REORDERING_PERSIST
        rare.late_us = <uint32_t>min(took_us - tcb.rack_rtt_us, <uint64_t>0xFFFFFFFF)


cdef void reordering_note(Tcp *tcp, uint32_t conn, uint64_t sent_ns) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.traits |= TRAIT_REORDERING_SEEN
    tcp.state.counters.reordered += 1
    note_lateness(tcp, tcb, rare_of(tcp, conn), sent_ns)


cdef void reordering_watch(Tcp *tcp, uint32_t conn, const Frame *it, uint64_t sent_ns) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    if it.flags & FRAME_EVER_RETRANSMITTED:
        return
    rare.watched = (rare.watched + 1) % WATCHED
    rare.watched_seq[rare.watched] = it.seq
    rare.watched_sent_ns[rare.watched] = sent_ns


cdef void reordering_late(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t i
    for i in range(WATCHED):
        if rare.watched_sent_ns[i] != 0 and seq_within(rare.watched_seq[i], start, end - start):
            note_lateness(tcp, &tcp.tcbs[conn], rare, rare.watched_sent_ns[i])
            rare.watched_sent_ns[i] = 0


cdef void reordering_mistaken(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    tcb.traits |= TRAIT_REORDERING_SEEN
    if rare.in_dsack_round and not seq_upto(rare.dsack_round, tcb.snd_una):
        return
    rare.in_dsack_round = 1
    rare.dsack_round = tcb.snd_nxt
    rare.reo_persist = REORDERING_PERSIST
    if rare.reo_steps < STEPS_MOST:
        rare.reo_steps += 1


cdef void reordering_recovered(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    if rare.reo_persist > 1:
        rare.reo_persist -= 1
    elif rare.reo_persist == 1:
        rare.reo_persist = 0
        rare.reo_steps = 0
        rare.late_us = 0
