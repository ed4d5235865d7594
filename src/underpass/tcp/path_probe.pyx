"""Path MTU discovery by probes."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.link.frames cimport (
    FRAME_LOST, NO_FRAME, Frame, frame_chunk, frame_is_outstanding, frame_unref,
)
from underpass.tcp.path cimport path_enlarge, path_most
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.scoreboard cimport DUP_THRESH, scoreboard_pipe
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, CONN_SACK, Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PATH, TRAIT_PATH_PROBE
from underpass.wire.seq cimport seq_t, seq_upto

cdef enum:
    MAX_PROBES = 3                  # RFC 8899 5.1.2: so many of one size may be lost by chance
    LEAST_WINDOW = 11               # segments; a smaller one should not be spent on probes (RFC 4821 7.4)
    NS_PER_MS = 1000000


# ---------------------------------------------------------------------------------------------- the search

cdef void path_probe_search(Tcp *tcp, uint32_t conn, uint32_t vanished) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    if not tcp.tcbs[conn].flags & CONN_SACK:
        return                              # the loss of a probe would stop the stream: tcp/path.pyx tries once in a while
    rare.path_searched = True
    rare.path_high = <uint16_t>vanished
    rare.path_probes = 0
    tcp.tcbs[conn].traits &= ~<uint32_t>TRAIT_PATH_PROBE
    pause(tcp, conn)


cdef inline void pause(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The next probe comes a retransmission timeout later: losses of probes stay apart (RFC 4821 7.5)."""
    rare_of(tcp, conn).path_search_at = tcp.now_ns + <uint64_t>tcp.colds[conn].rto_us * 1000


cdef void go_on(Tcp *tcp, uint32_t conn) noexcept nogil:
    """After a verdict: the next probe, a rest, or the end."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    if tcb.mss >= path_most(tcp, conn):
        tcb.traits &= ~<uint32_t>TRAIT_PATH
        rare.path_searched = False
    elif rare.path_high - tcb.mss <= PROBE_STEP:
        rare.path_high = 0
        rare.path_search_at = tcp.now_ns + <uint64_t>tcp.state.limits.path_mtu_ms * NS_PER_MS


cdef inline uint32_t next_size(const Tcb *tcb, TcbRare *rare, uint32_t most) noexcept nogil:
    """RFC 4821 7.3: half of what is uncertain; a new search begins with all of it."""
    if rare.path_high == 0:
        rare.path_high = <uint16_t>(most + 1)
        return most
    return (<uint32_t>tcb.mss + rare.path_high) // 2


# ---------------------------------------------------------------------------------------------- sending

cdef inline bint undisturbed(const Tcb *tcb) noexcept nogil:
    return tcb.flags & CONN_SACK and not tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) and \
        not tcb.traits & TRAIT_PATH_PROBE and (tcb.sacked_bytes | tcb.lost_bytes) == 0


cdef inline bint worth_trying(const Tcb *tcb, uint32_t size) noexcept nogil:
    """Whether the probe, and enough behind it to tell of its loss, is there to be sent, and fits into the windows."""
    cdef uint32_t octets = size + (DUP_THRESH + 1) * <uint32_t>tcb.mss
    return tcb.snd_unsent != NO_FRAME and tcb.snd_end - tcb.snd_nxt >= octets and \
        tcb.cwnd >= size + LEAST_WINDOW * <uint32_t>tcb.mss and \
        <uint32_t>(tcb.snd_nxt - tcb.snd_una) + octets <= tcb.snd_wnd


cdef ProbeStep path_probe_make(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t size, most
    if not rare.path_searched or tcp.now_ns < rare.path_search_at or not undisturbed(tcb):
        return PROBE_NONE
    most = path_most(tcp, conn)
    if tcb.mss >= most or not worth_trying(tcb, most):
        return PROBE_NONE
    size = min(next_size(tcb, rare, most), most)
    if size <= tcb.mss:
        return PROBE_NONE
    if scoreboard_pipe(tcb, &tcp.colds[conn]) + size > tcb.cwnd:
        return PROBE_WAITS
    return PROBE_MADE if gather(tcp, tcb, tcb.snd_unsent, size) else PROBE_NONE


cdef bint gather(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t size) noexcept nogil:
    """Move octets of the frames that follow into this one, which was never sent either."""
    cdef Frame *it = &tcp.pool.frames[frame]
    cdef Frame *donor
    cdef uint32_t part
    while it.length < size:
        if it.next == NO_FRAME or frame_is_outstanding(tcp.pool, frame) or \
                it.offset + size > tcp.pool.state.chunk_bytes:
            return False
        donor = &tcp.pool.frames[it.next]
        part = min(size - it.length, <uint32_t>donor.length)
        memcpy(frame_chunk(tcp.pool, frame) + it.offset + it.length,
               frame_chunk(tcp.pool, it.next) + donor.offset, part)
        it.length += <uint16_t>part
        give(tcp, tcb, frame, part)
    return it.length == size


cdef inline void give(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil:
    """Take octets from the head of the frame behind this one."""
    cdef Frame *it = &tcp.pool.frames[frame]
    cdef uint32_t donor = it.next
    cdef Frame *its = &tcp.pool.frames[donor]
    its.length -= <uint16_t>octets
    its.offset += <uint16_t>octets
    its.seq += octets
    if its.length != 0:
        return
    it.next = its.next
    if tcb.snd_tail == donor:
        tcb.snd_tail = frame
    tcb.snd_frames -= 1
    frame_unref(tcp.pool, donor)


cdef void path_probe_sent(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    rare.path_probe = tcp.pool.frames[frame].seq
    rare.path_probe_mss = tcp.pool.frames[frame].length
    tcp.tcbs[conn].traits |= TRAIT_PATH_PROBE
    tcp.state.counters.path_probes += 1


# ---------------------------------------------------------------------------------------------- verdicts

cdef void path_probe_acknowledged(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    if not seq_upto(rare.path_probe + rare.path_probe_mss, tcb.snd_una):
        return
    tcb.traits &= ~<uint32_t>TRAIT_PATH_PROBE
    if rare.path_probe_mss <= tcb.mss:
        return                              # other news have come meanwhile
    rare.path_probes = 0
    tcp.state.counters.path_mtu_raised += 1
    path_enlarge(tcb, rare.path_probe_mss)
    go_on(tcp, conn)


cdef inline uint32_t probe_frame(const Tcp *tcp, const Tcb *tcb, seq_t probe) noexcept nogil:
    """Where all before it has arrived, as a rule, it is the first one."""
    cdef uint32_t frame = tcb.snd_head
    while frame != NO_FRAME and frame != tcb.snd_unsent and tcp.pool.frames[frame].seq != probe:
        if not seq_upto(tcp.pool.frames[frame].seq, probe):
            return NO_FRAME
        frame = tcp.pool.frames[frame].next
    return NO_FRAME if frame == tcb.snd_unsent else frame


cdef bint path_probe_lost(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t frame = probe_frame(tcp, tcb, rare.path_probe)
    if frame == NO_FRAME or not tcp.pool.frames[frame].flags & FRAME_LOST:
        return False
    if tcb.lost_bytes - tcb.retransmitted_bytes != tcp.pool.frames[frame].length:
        return False                        # others are missing too: congestion, and no verdict
    tcb.traits &= ~<uint32_t>TRAIT_PATH_PROBE
    tcb.flags |= CONN_RTO_RECOVERY          # as for a segment that a router refused: see tcp/path.pyx
    tcp.colds[conn].recover = tcb.snd_nxt
    tcp.state.counters.path_probes_lost += 1
    rare.path_probes += 1
    pause(tcp, conn)
    if rare.path_probes >= MAX_PROBES or rare.path_probe_mss >= rare.path_high:
        rare.path_probes = 0
        rare.path_high = min(rare.path_high, rare.path_probe_mss)
        go_on(tcp, conn)
    return True


cdef void path_probe_resent(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    if tcp.pool.frames[frame].seq == rare_of(tcp, conn).path_probe:
        tcp.tcbs[conn].traits &= ~<uint32_t>TRAIT_PATH_PROBE
        pause(tcp, conn)


cdef void path_probe_refused(Tcp *tcp, uint32_t conn, uint32_t mss) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    if tcp.tcbs[conn].mss <= mss < rare.path_probe_mss:
        rare.path_high = <uint16_t>(mss + 1)
