"""Path MTU discovery."""
from libc.stdint cimport uint16_t, uint64_t

from underpass.ip.network cimport network_fixed_headers, network_learn_mtu, network_path_mtu
from underpass.link.frames cimport FRAME_SACKED, NO_FRAME, TX_HEADROOM, Frame
from underpass.tcp.block cimport block_touch
from underpass.tcp.congestion.control cimport congestion_floor
from underpass.tcp.path_probe cimport path_probe_outstanding, path_probe_refused, path_probe_search
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.scoreboard cimport SCOREBOARD_VISITS, scoreboard_send_again
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, CONN_TIMESTAMPS, ESTABLISHED, TcbCold
from underpass.wire.address cimport address_is_v4
from underpass.wire.tcp cimport TIMESTAMPS_BYTES

cdef enum:
    LEAST_V4 = 552                  # as Linux' min_pmtu; IPv4 demands only 68, and no path in use has it
    LEAST_V6 = 1280                 # RFC 8200 5
    USUAL_V4 = 1064                 # a segment of 1024 octets (RFC 4821 7.2)
    PLATEAUS = 8
    NS_PER_MS = 1000000

# RFC 1191 7.1: MTUs of media that were in use, for routers that do not say theirs.
cdef uint16_t[PLATEAUS] COMMON = [32000, 17914, 8166, 4352, 2002, 1492, 1006, LEAST_V4]


cdef inline uint32_t overhead(const Tcb *tcb) noexcept nogil:
    """What a segment of tcb.mss octets needs beside them in its IP packet."""
    return network_fixed_headers(&tcb.remote) + (TIMESTAMPS_BYTES if tcb.flags & CONN_TIMESTAMPS else 0)


cdef uint32_t path_mtu(const Tcp *tcp, uint32_t conn) noexcept nogil:
    return tcp.tcbs[conn].mss + overhead(&tcp.tcbs[conn])


# ---------------------------------------------------------------------------------------------- smaller

cdef void send_large_again(Tcp *tcp, uint32_t conn) noexcept nogil:
    """What is in flight and too large has not arrived. Recovery without a loss of congestion's: the window stays."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t visits = 0
    cdef Frame *it
    while frame != NO_FRAME and frame != tcb.snd_unsent and visits < SCOREBOARD_VISITS:
        visits += 1
        it = &tcp.pool.frames[frame]
        if it.length > tcb.mss and not it.flags & FRAME_SACKED:
            scoreboard_send_again(tcp, tcb, frame)
        frame = it.next
    if tcb.lost_bytes > tcb.retransmitted_bytes and not tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY):
        tcb.flags |= CONN_RTO_RECOVERY
        cold.recover = tcb.snd_nxt


cdef void lower(Tcp *tcp, uint32_t conn, uint32_t mtu) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.mss = <uint16_t>(mtu - overhead(tcb))
    tcb.traits |= TRAIT_PATH
    rare_of(tcp, conn).path_search_at = tcp.now_ns + <uint64_t>tcp.state.limits.path_mtu_ms * NS_PER_MS
    block_touch(tcp, conn)


cdef uint32_t next_common(uint32_t mtu) noexcept nogil:
    """RFC 1191 5: the largest usual MTU below the packet that was refused."""
    cdef uint32_t i
    for i in range(PLATEAUS - 1):
        if COMMON[i] < mtu:
            return COMMON[i]
    return LEAST_V4


cdef inline uint32_t claimed_mtu(const IcmpError *error, bint v4, uint32_t now) noexcept nogil:
    """What the error asks for; 0: nothing that a path can have (RFC 8201 4: under 1280 is to be discarded)."""
    if not v4:
        return error.mtu if error.mtu >= LEAST_V6 else 0
    if error.mtu == 0:
        return next_common(min(error.quoted_bytes, now))
    return max(error.mtu, <uint32_t>LEAST_V4)


cdef void path_too_big(Tcp *tcp, uint32_t conn, const IcmpError *error) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t now = path_mtu(tcp, conn)
    cdef uint32_t mtu = claimed_mtu(error, address_is_v4(&tcb.remote), now)
    if mtu >= now and path_probe_outstanding(tcb):
        path_probe_refused(tcp, conn, mtu - overhead(tcb))
    # RFC 5927 7.2: no packet is too big for an MTU that it fits into.
    if mtu == 0 or mtu >= now or mtu >= error.quoted_bytes:
        tcp.state.counters.icmp_too_big_refused += 1
        return
    tcp.state.counters.path_mtu_lowered += 1
    network_learn_mtu(tcp.network, &tcb.remote, mtu, tcp.now_ns,
                      tcp.now_ns + <uint64_t>tcp.state.limits.path_mtu_ms * NS_PER_MS)
    lower(tcp, conn, mtu)
    if tcb.state >= ESTABLISHED:
        send_large_again(tcp, conn)


cdef void path_suspect(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 4821 7.7: perhaps it is the size, and the router that should say so cannot be heard."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef bint v4 = address_is_v4(&tcb.remote)
    cdef uint32_t least = LEAST_V4 if v4 else LEAST_V6
    cdef uint32_t usual = USUAL_V4 if v4 else LEAST_V6
    cdef uint32_t mtu = usual if path_mtu(tcp, conn) > usual else least
    cdef uint32_t vanished = tcb.mss
    if tcp.state.limits.mtu_probing == PROBING_OFF or tcb.snd_head == NO_FRAME:
        return
    if tcp.pool.frames[tcb.snd_head].length + overhead(tcb) <= mtu:
        return                              # a small segment is lost as well: it is not the size
    tcp.state.counters.path_black_holes += 1
    lower(tcp, conn, mtu)
    path_probe_search(tcp, conn, vanished)


# ---------------------------------------------------------------------------------------------- larger

cdef void path_enlarge(Tcb *tcb, uint32_t mss) noexcept nogil:
    """Windows are counted in segments: one of the larger ones fits (RFC 5681 3.1; RFC 4821 7.4)."""
    tcb.mss = <uint16_t>mss
    tcb.cwnd = max(tcb.cwnd, mss)
    tcb.ssthresh = congestion_floor(tcb, tcb.ssthresh)


cdef uint32_t path_most(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t fixed = network_fixed_headers(&tcb.remote)
    cdef uint32_t mss = network_path_mtu(tcp.network, &tcb.remote, tcp.now_ns) - fixed
    mss = min(mss, <uint32_t>tcp.colds[conn].peer_mss, tcp.pool.state.chunk_bytes - TX_HEADROOM)
    return min(mss, tcp.state.limits.mss) - (overhead(tcb) - fixed)


cdef void path_raise(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 8201 4, RFC 1191 6.3: after ten minutes the path may have changed; a router that still minds says so again."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t mss
    if tcp.now_ns < rare.path_search_at or rare.path_searched:
        return
    mss = path_most(tcp, conn)
    tcb.traits &= ~<uint32_t>TRAIT_PATH
    if mss > tcb.mss:
        tcp.state.counters.path_mtu_raised += 1
        path_enlarge(tcb, mss)
