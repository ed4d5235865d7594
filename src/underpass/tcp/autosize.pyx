"""Buffers that fit the path."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.isn cimport timestamp_clock
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.tcb cimport CONN_TIMESTAMPS, EVENT_WRITABLE, Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_NOTSENT_LOWAT, TRAIT_RCV_FIXED, TRAIT_SND_FIXED, TRAIT_WINDOW_CLAMP
from underpass.wire.segment cimport OPTION_TIMESTAMPS, Segment
from underpass.wire.seq cimport seq_t

cdef enum:
    NS_PER_MS = 1000000
    UNKNOWN_RTT_MS = 100
    LONGEST_RTT_MS = 60000
    HEADROOM = 3                    # times what arrives in a round trip: a sender in slow start doubles it in the next


cdef inline uint32_t round_trip_ms(const Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """The receiver's own measure: how old the acknowledgment is that the segment answers (RFC 7323 4); or else the
    sender's. At least a tick of the timestamps' clock, which is about a millisecond.
    """
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(<Tcp *>tcp, conn)
    cdef uint32_t sample
    if tcb.flags & CONN_TIMESTAMPS and seg.options & OPTION_TIMESTAMPS:
        sample = max(timestamp_clock(tcp) + tcp.colds[conn].ts_offset - seg.ts_ecr, <uint32_t>1)
        if rare.rcv_rtt_ms == 0 or sample < rare.rcv_rtt_ms:
            rare.rcv_rtt_ms = sample            # nothing in it but the path
        elif sample < LONGEST_RTT_MS:
            rare.rcv_rtt_ms += (sample - rare.rcv_rtt_ms) >> 3
        return rare.rcv_rtt_ms
    return max(tcb.srtt_us // 8000, <uint32_t>1) if tcb.srtt_us else UNKNOWN_RTT_MS


cdef inline uint32_t largest_buffer(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef uint32_t most = tcp.state.limits.rcv_bytes
    if tcp.tcbs[conn].traits & TRAIT_WINDOW_CLAMP:
        most = min(most, rare_of(tcp, conn).settings.window_clamp)
    return most


cdef inline void widen(Tcp *tcp, uint32_t conn, uint32_t arrived, uint32_t rtt_ms, uint32_t elapsed_ms) noexcept nogil:
    """`arrived` octets came in that time: make the buffer a multiple of what comes in a round trip."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t used = arrived - tcb.rcv_bytes if arrived > tcb.rcv_bytes else 0      # what nobody reads needs no room
    cdef uint64_t wanted = HEADROOM * <uint64_t>used * rtt_ms // max(rtt_ms, elapsed_ms)
    wanted = min(wanted, <uint64_t>largest_buffer(tcp, conn))
    if wanted > tcb.rcv_limit:
        tcb.rcv_limit = <uint32_t>wanted
        tcp.state.counters.rcv_grown += 1


cdef void autosize_receive(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef seq_t judged = cold.rcv_space_seq
    cdef TcbRare *rare
    cdef uint32_t now_ms, elapsed_ms, rtt_ms
    cold.rcv_space_seq = tcb.rcv_nxt
    if tcb.traits & TRAIT_RCV_FIXED or tcb.rcv_limit >= tcp.state.limits.rcv_bytes:
        return
    rare = rare_of(tcp, conn)
    if rare.rcv_space_ms == 0:
        rare.rcv_space_start = judged
        rare.rcv_space_ms = <uint32_t>(cold.opened_ns // NS_PER_MS)
    now_ms = <uint32_t>(tcp.now_ns // NS_PER_MS)
    elapsed_ms = now_ms - rare.rcv_space_ms
    rtt_ms = round_trip_ms(tcp, conn, seg)
    widen(tcp, conn, tcb.rcv_nxt - rare.rcv_space_start, rtt_ms, elapsed_ms)
    if elapsed_ms >= rtt_ms:                    # else the measure goes on
        rare.rcv_space_start = tcb.rcv_nxt
        rare.rcv_space_ms = now_ms


cdef void autosize_send(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t flight = max(tcb.cwnd, tcb.snd_nxt - tcb.snd_una + acked)
    cdef uint32_t wanted = min(2 * (flight // tcb.mss + 1), tcp.state.limits.snd_frames)
    if not tcb.traits & TRAIT_SND_FIXED and wanted > cold.snd_limit:
        cold.snd_limit = wanted
        tcp.state.counters.snd_grown += 1
    if autosize_has_room(tcp, conn):
        tcb.events |= EVENT_WRITABLE


cdef bint autosize_is_full(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if tcb.snd_frames >= autosize_send_limit(tcp, &tcp.colds[conn]):
        return True
    return tcb.traits & TRAIT_NOTSENT_LOWAT and not autosize_below_lowat(tcp, conn, False)


cdef bint autosize_below_lowat(Tcp *tcp, uint32_t conn, bint wake) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    return <uint64_t>(tcb.snd_end - tcb.snd_nxt) << wake < rare_of(tcp, conn).settings.notsent_lowat
