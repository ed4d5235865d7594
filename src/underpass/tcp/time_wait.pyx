"""TIME_WAIT: what a connection that is over still has to answer, in a queue by order of expiry."""
from libc.stdint cimport UINT64_MAX, uint16_t, uint32_t, uint64_t

from underpass.tcp.challenge cimport CHALLENGE_MS
from underpass.tcp.demux cimport TIME_WAIT_TAG, demux_remove, demux_replace
from underpass.tcp.tcb cimport CONN_TIMESTAMPS, Tcb, Tcp, TcpState, TimeWait
from underpass.wire.segment cimport ACK, FIN, OPTION_TIMESTAMPS, RST, SYN, Segment, segment_length
from underpass.wire.seq cimport seq_after, seq_before, seq_span, seq_t, seq_upto, seq_within

cdef enum:
    NS_PER_MS = 1000000
    ANSWERED_SHIFT = 26             # TimeWait.answered counts 67 ms


cdef void time_wait_init(TcpState *state) noexcept nogil:
    state.time_wait_free = NO_TIME_WAIT
    state.time_wait_head = NO_TIME_WAIT
    state.time_wait_tail = NO_TIME_WAIT
    state.time_wait_fresh = 0
    state.time_wait_used = 0


cdef void time_wait_rebuild(Tcp *tcp, const uint32_t *entries, uint32_t count) noexcept nogil:
    cdef TcpState *state = tcp.state
    cdef uint32_t fresh = min(state.time_wait_fresh, state.limits.time_waits)
    cdef uint32_t i
    cdef uint64_t expires_ns
    time_wait_init(state)
    state.time_wait_fresh = fresh
    for i in range(fresh):
        tcp.time_waits[i].prev = i          # as no entry in the queue has it
    for i in range(count):
        expires_ns = tcp.time_waits[entries[i]].expires_ns
        _enqueue(tcp, entries[i])
        tcp.time_waits[entries[i]].expires_ns = min(expires_ns, tcp.time_waits[entries[i]].expires_ns)
        state.time_wait_used += 1
    for i in range(fresh):
        if tcp.time_waits[i].prev == i:
            tcp.time_waits[i].next = state.time_wait_free
            state.time_wait_free = i


cdef void time_wait_enter(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t entry = _take(tcp)
    if entry == NO_TIME_WAIT:
        demux_remove(tcp, tcb.hash, 1 + conn)
        return
    cdef TimeWait *it = &tcp.time_waits[entry]
    it.local = tcb.local
    it.remote = tcb.remote
    it.local_port = tcb.local_port
    it.remote_port = tcb.remote_port
    it.hash = tcb.hash
    it.snd_nxt = tcb.snd_nxt
    it.rcv_nxt = tcb.rcv_nxt
    it.rcv_wnd = seq_span(tcb.rcv_nxt, tcb.rcv_adv) if seq_after(tcb.rcv_adv, tcb.rcv_nxt) else 0
    it.ts_recent = tcb.ts_recent
    it.ts_offset = tcp.colds[conn].ts_offset
    it.flags = <uint16_t>(tcb.flags & CONN_TIMESTAMPS)
    it.answered = 0
    _enqueue(tcp, entry)
    demux_replace(tcp, it.hash, 1 + conn, TIME_WAIT_TAG + 1 + entry)
    tcp.state.counters.time_wait_entered += 1


cdef TimeWaitVerdict time_wait_receive(Tcp *tcp, uint32_t entry, const Segment *seg) noexcept nogil:
    cdef TimeWait *it = &tcp.time_waits[entry]
    if seg.flags & RST:
        return TIME_WAIT_DROP                   # RFC 1337 3: a reset does not cut TIME_WAIT short
    if seg.flags & SYN:
        # RFC 9293 3.10.7.4, fourth: what does not open it anew is challenged (RFC 5961 4).
        return TIME_WAIT_REOPEN if not seg.flags & ACK and _may_reopen(it, seg) else TIME_WAIT_ACK
    if not seg.flags & ACK:
        return TIME_WAIT_DROP                   # fifth
    if _is_older(it, seg):
        return TIME_WAIT_ACK                    # RFC 7323 5.3, R1
    if seg.flags & FIN and seg.seq + segment_length(seg) == it.rcv_nxt:
        _begin_again(tcp, entry, seg)           # eighth: acknowledge it, and restart the 2 MSL timeout
        return TIME_WAIT_ACK
    return TIME_WAIT_DROP if _is_acceptable(it, seg) else TIME_WAIT_ACK


cdef bint time_wait_may_answer(Tcp *tcp, uint32_t entry, const Segment *seg) noexcept nogil:
    cdef TimeWait *it = &tcp.time_waits[entry]
    cdef uint16_t now = <uint16_t>(tcp.now_ns >> ANSWERED_SHIFT)
    if segment_length(seg) != 0 and not seg.flags & SYN:
        return True
    if it.answered != 0 and <uint16_t>(now - it.answered) < (<uint64_t>CHALLENGE_MS * NS_PER_MS) >> ANSWERED_SHIFT:
        tcp.state.counters.answer_limited += 1
        return False
    it.answered = now if now else 1
    return True


cdef seq_t time_wait_reopen(Tcp *tcp, uint32_t entry) noexcept nogil:
    cdef seq_t snd_nxt = tcp.time_waits[entry].snd_nxt
    _release(tcp, entry)
    tcp.state.counters.time_wait_reused += 1
    return snd_nxt


cdef bint time_wait_takes_cookie(const Tcp *tcp, uint32_t entry, const Segment *syn, seq_t iss) noexcept nogil:
    """RFC 6191 2 for the peer's numbers; for ours RFC 1122 4.2.2.13, or RFC 7323 5.2."""
    cdef const TimeWait *it = &tcp.time_waits[entry]
    if not _may_reopen(it, syn):
        return False
    return seq_after(iss, it.snd_nxt) or (it.flags & CONN_TIMESTAMPS and syn.options & OPTION_TIMESTAMPS) != 0


cdef void time_wait_expire(Tcp *tcp) noexcept nogil:
    cdef uint32_t entry = tcp.state.time_wait_head
    while entry != NO_TIME_WAIT and tcp.time_waits[entry].expires_ns <= tcp.now_ns:
        _release(tcp, entry)
        entry = tcp.state.time_wait_head


cdef uint64_t time_wait_next_ns(const Tcp *tcp) noexcept nogil:
    cdef uint32_t entry = tcp.state.time_wait_head
    return UINT64_MAX if entry == NO_TIME_WAIT else tcp.time_waits[entry].expires_ns


cdef bint _may_reopen(const TimeWait *it, const Segment *syn) noexcept nogil:
    """RFC 6191 2: by timestamps where there are any, by sequence numbers where nothing else can tell."""
    cdef bint newer_seq = seq_upto(it.rcv_nxt, syn.seq)
    if not syn.options & OPTION_TIMESTAMPS:
        return newer_seq
    if not it.flags & CONN_TIMESTAMPS:
        return True
    if syn.ts_val == it.ts_recent:
        return newer_seq
    return not _is_older(it, syn)


cdef inline bint _is_older(const TimeWait *it, const Segment *seg) noexcept nogil:
    """PAWS (RFC 7323 5.2): SEG.TSval < TS.Recent."""
    return (it.flags & CONN_TIMESTAMPS and seg.options & OPTION_TIMESTAMPS
            and seq_before(seg.ts_val, it.ts_recent))


cdef bint _is_acceptable(const TimeWait *it, const Segment *seg) noexcept nogil:
    """RFC 9293 3.10.7.4, first: the segment begins or ends in the window, or is empty at a closed one."""
    cdef uint32_t length = segment_length(seg)
    if it.rcv_wnd == 0:
        return length == 0 and seg.seq == it.rcv_nxt
    return (seq_within(seg.seq, it.rcv_nxt, it.rcv_wnd)
            or (length > 0 and seq_within(seg.seq + length - 1, it.rcv_nxt, it.rcv_wnd)))


cdef void _begin_again(Tcp *tcp, uint32_t entry, const Segment *seg) noexcept nogil:
    cdef TimeWait *it = &tcp.time_waits[entry]
    if it.flags & CONN_TIMESTAMPS and seg.options & OPTION_TIMESTAMPS:
        it.ts_recent = seg.ts_val               # RFC 7323 4.3: in order, and PAWS has passed it
    _unqueue(tcp, entry)
    _enqueue(tcp, entry)


cdef uint32_t _take(Tcp *tcp) noexcept nogil:
    """A free entry; at the limit the one nearest its end. NO_TIME_WAIT where there are none at all."""
    cdef TcpState *state = tcp.state
    cdef uint32_t entry
    if state.time_wait_used >= state.limits.time_waits:
        state.counters.time_wait_limit += 1
        if state.time_wait_head == NO_TIME_WAIT:
            return NO_TIME_WAIT
        _release(tcp, state.time_wait_head)
    state.time_wait_used += 1
    entry = state.time_wait_free
    if entry != NO_TIME_WAIT:
        state.time_wait_free = tcp.time_waits[entry].next
    else:
        entry = state.time_wait_fresh
        state.time_wait_fresh += 1
    return entry


cdef void _release(Tcp *tcp, uint32_t entry) noexcept nogil:
    """Take an entry out of the demultiplexer and the queue, and free it."""
    demux_remove(tcp, tcp.time_waits[entry].hash, TIME_WAIT_TAG + 1 + entry)
    _unqueue(tcp, entry)
    tcp.time_waits[entry].next = tcp.state.time_wait_free
    tcp.state.time_wait_free = entry
    tcp.state.time_wait_used -= 1


cdef void _enqueue(Tcp *tcp, uint32_t entry) noexcept nogil:
    cdef TimeWait *it = &tcp.time_waits[entry]
    it.expires_ns = tcp.now_ns + <uint64_t>tcp.state.limits.time_wait_ms * NS_PER_MS
    it.next = NO_TIME_WAIT
    it.prev = tcp.state.time_wait_tail
    if it.prev == NO_TIME_WAIT:
        tcp.state.time_wait_head = entry
    else:
        tcp.time_waits[it.prev].next = entry
    tcp.state.time_wait_tail = entry


cdef void _unqueue(Tcp *tcp, uint32_t entry) noexcept nogil:
    cdef const TimeWait *it = &tcp.time_waits[entry]
    if it.prev == NO_TIME_WAIT:
        tcp.state.time_wait_head = it.next
    else:
        tcp.time_waits[it.prev].next = it.next
    if it.next == NO_TIME_WAIT:
        tcp.state.time_wait_tail = it.prev
    else:
        tcp.time_waits[it.next].prev = it.prev
