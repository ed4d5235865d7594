"""TCP Fast Open, both sides."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from underpass.link.frames cimport NO_FRAME, Frame, frame_unref
from underpass.tcp.block cimport block_touch
from underpass.tcp.congestion.control cimport congestion_begin, congestion_initial_window
from underpass.tcp.cookie_jar cimport (
    COOKIE_FITS, COOKIE_MIN, CookiePeer, cookie_jar_find, cookie_jar_put, cookie_jar_worked,
)
from underpass.tcp.ending cimport ending_handshake_over
from underpass.tcp.fast_open_syn cimport COOKIE_BYTES, fast_open_cookie, fast_open_period
from underpass.tcp.keepalive cimport keepalive_arm
from underpass.tcp.open cimport open_send_syn
from underpass.tcp.rare cimport rare_of
from underpass.tcp.receive cimport receive_text
from underpass.tcp.rtt cimport rtt_sample, rtt_syn_lost
from underpass.tcp.sources cimport sources_add
from underpass.tcp.tcb cimport (
    CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_FIN_QUEUED, CONN_WANTS_ROOM, ESTABLISHED, EVENT_ACCEPTED, EVENT_WRITABLE,
    FIN_WAIT_1, NO_LISTENER, SYN_SENT, Tcb, TcbCold,
)
from underpass.tcp.timers cimport timers_restart_retransmit
from underpass.tcp.traits cimport (
    TRAIT_DEFER_ACCEPT, TRAIT_FAST_OPEN, TRAIT_FAST_OPEN_GRANT, TRAIT_FAST_OPEN_PENDING, TRAIT_PATH,
)
from underpass.tcp.window cimport window_of_syn
from underpass.wire.segment cimport ACK, OPTION_MSS
from underpass.wire.tcp cimport KIND_FAST_OPEN, tcp_find_option

cdef enum:
    MOST_OPTIONS = 40               # octets of a SYN's options
    LEAST_MSS = 104                 # so that something is left beside them

cdef uint64_t RESET_PERIOD_NS = <uint64_t>60 * 1000000000


# ---------------------------------------------------------------------------------------------- the server

cdef inline bint is_cookie(const Tcp *tcp, const Segment *syn, const uint8_t *cookie, uint64_t period) noexcept nogil:
    cdef uint64_t good = fast_open_cookie(tcp, &syn.src, period)
    return memcmp(cookie, &good, COOKIE_BYTES) == 0


cdef inline void turn_the_minute(Listener *listener, uint64_t now_ns) noexcept nogil:
    cdef uint64_t minute = now_ns // RESET_PERIOD_NS
    if listener.fast_open_minute == minute:
        return
    listener.fast_open_resets[1] = listener.fast_open_resets[0] if listener.fast_open_minute + 1 == minute else 0
    listener.fast_open_resets[0] = 0
    listener.fast_open_minute = minute


cdef inline bint has_room(Listener *listener, uint64_t now_ns) noexcept nogil:
    """RFC 7413 5.1: PendingFastOpenRequests, with those that were reset a short while ago."""
    turn_the_minute(listener, now_ns)
    return listener.fast_open_pending + listener.fast_open_resets[0] + listener.fast_open_resets[1] < listener.fast_open


cdef bint proved(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil:
    """Whether the SYN brings a cookie of this day or the last; one that is old, wrong or asked for is followed by a new one."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t octets = 0
    cdef const uint8_t *cookie = tcp_find_option(syn, KIND_FAST_OPEN, &octets)
    cdef uint64_t period = fast_open_period(tcp)
    if cookie == NULL:
        return False
    if octets == COOKIE_BYTES and is_cookie(tcp, syn, cookie, period):
        return True
    tcb.traits |= TRAIT_FAST_OPEN_GRANT
    if octets == 0:
        tcp.state.counters.fast_open_requests += 1
    elif octets == COOKIE_BYTES and is_cookie(tcp, syn, cookie, period - 1):
        return True
    else:
        tcp.state.counters.fast_open_refused += 1
    return False


cdef bint fast_open_take(Tcp *tcp, uint32_t conn, Listener *listener, const Segment *syn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not proved(tcp, conn, syn):
        return False
    if tcb.traits & TRAIT_DEFER_ACCEPT and syn.payload_bytes == 0:
        return False
    if not has_room(listener, tcp.now_ns):
        tcp.state.counters.fast_open_limit += 1
        return False
    listener.fast_open_pending += 1
    tcp.state.counters.fast_open_accepted += 1
    tcb.traits |= TRAIT_FAST_OPEN_PENDING
    tcb.traits &= ~<uint32_t>TRAIT_DEFER_ACCEPT
    make_ready(tcp, conn, syn)
    return True


cdef void make_ready(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil:
    """RFC 7413 4.2.2: the server may send before the handshake ends, as much as the initial window and the SYN's window let."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    tcb.snd_una = tcb.snd_nxt               # the SYN-ACK has a timer of its own
    tcb.snd_wnd = cold.snd_wnd_max = syn.window
    tcb.snd_wl1 = syn.seq
    tcb.snd_wl2 = tcb.snd_una
    tcb.cwnd = congestion_initial_window(tcb.mss)
    congestion_begin(tcp, conn, tcb.congestion)
    cold.rcv_space_seq = tcb.rcv_nxt
    tcb.rcv_adv = tcb.rcv_nxt + window_of_syn(tcb)


cdef void fast_open_serve(Tcp *tcp, uint32_t conn, Arrival *arrival) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if arrival.seg.payload_bytes != 0:
        receive_text(tcp, conn, arrival)
        tcb.flags &= ~<uint32_t>(CONN_ACK_NOW | CONN_ACK_DELAYED)       # the SYN-ACK says it
    tcp.state.counters.passive_opens += 1
    tcb.events |= EVENT_ACCEPTED
    open_send_syn(tcp, conn)


cdef void fast_open_completed(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    ending_handshake_over(tcp, conn)
    sources_add(tcp, conn)
    tcb.traits &= ~<uint32_t>TRAIT_FAST_OPEN_PENDING
    tcb.state = FIN_WAIT_1 if tcb.flags & CONN_FIN_QUEUED else ESTABLISHED
    if cold.backoff == 0 and cold.since_ns != 0:
        rtt_sample(tcb, cold, <uint32_t>((tcp.now_ns - cold.since_ns) // 1000), tcp.state.limits.rto_min_us)
    elif cold.backoff != 0:
        tcb.cwnd = tcb.mss                  # RFC 5681 3.1: the SYN-ACK was lost
        rtt_syn_lost(tcb, cold)
    cold.backoff = 0
    cold.since_ns = 0
    cold.heard_ns = tcp.now_ns
    keepalive_arm(tcp, conn)
    timers_restart_retransmit(tcp, conn)
    block_touch(tcp, conn)


cdef void fast_open_was_reset(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef uint32_t listener = tcp.colds[conn].listener
    if listener != NO_LISTENER:
        turn_the_minute(&tcp.state.listeners[listener], tcp.now_ns)
        tcp.state.listeners[listener].fast_open_resets[0] += 1


# ---------------------------------------------------------------------------------------------- the client

cdef bint fast_open_begin(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef CookiePeer *peer = cookie_jar_find(&tcp.state.fast_open_cookies, &tcp.state.secret, &tcb.remote)
    if peer != NULL and peer.avoid_until_ns > tcp.now_ns:
        return False                        # RFC 7413 4.1.3.1: a path that swallows such SYNs
    rare_of(tcp, conn).fast_open_octets = 0
    tcb.traits |= TRAIT_FAST_OPEN
    if peer == NULL or peer.length == 0:
        return False                        # the SYN asks for a cookie
    # One segment of data fits the SYN, whose options take more room than those of other segments (RFC 7413 4.2.1).
    tcb.mss = min(tcb.mss, max(peer.mss, <uint16_t>LEAST_MSS)) - <uint16_t>MOST_OPTIONS
    tcb.traits |= TRAIT_FAST_OPEN_PENDING
    tcb.flags |= CONN_WANTS_ROOM
    tcb.events |= EVENT_WRITABLE
    block_touch(tcp, conn)
    return True


cdef void fast_open_go(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.state == SYN_SENT and tcb.snd_head != NO_FRAME:
        tcb.traits &= ~<uint32_t>TRAIT_FAST_OPEN_PENDING
        open_send_syn(tcp, conn)


cdef void keep_cookie(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """RFC 7413 4.1.3: the cookie of the SYN-ACK, and the MSS. One of a wrong size is none (4.1.1)."""
    cdef uint32_t octets = 0
    cdef const uint8_t *cookie = tcp_find_option(seg, KIND_FAST_OPEN, &octets)
    if cookie != NULL and COOKIE_MIN <= octets <= COOKIE_FITS and octets % 2 == 0:
        cookie_jar_put(&tcp.state.fast_open_cookies, &tcp.state.secret, &tcp.tcbs[conn].remote, cookie, octets,
                       seg.mss if seg.options & OPTION_MSS else 0, tcp.now_ns)


cdef void drop_acknowledged(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    """What the SYN-ACK acknowledges leaves the queue; all else of it counts as never sent."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame = tcb.snd_head
    cdef Frame *it = &tcp.pool.frames[frame]
    tcp.colds[conn].bytes_sent += octets
    tcp.colds[conn].bytes_acked += octets
    tcb.snd_nxt += octets
    if octets < it.length:
        it.seq += octets
        it.offset += <uint16_t>octets
        it.length -= <uint16_t>octets
        return
    tcb.snd_head = tcb.snd_unsent = it.next
    tcb.snd_frames -= 1
    if tcb.snd_head == NO_FRAME:
        tcb.snd_tail = NO_FRAME
    frame_unref(tcp.pool, frame)


cdef void fast_open_answered(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t sent = rare_of(tcp, conn).fast_open_octets
    cdef uint32_t octets = seg.ack - (cold.iss + 1) if seg.flags & ACK else 0
    tcb.traits &= ~<uint32_t>(TRAIT_FAST_OPEN | TRAIT_FAST_OPEN_PENDING)
    if not tcb.traits & TRAIT_PATH:
        tcb.mss = cold.peer_mss             # as it was before the SYN
    keep_cookie(tcp, conn, seg)
    if octets != 0:
        drop_acknowledged(tcp, conn, octets)
        tcp.state.counters.fast_open_acked += 1
        cookie_jar_worked(&tcp.state.fast_open_cookies, &tcp.state.secret, &tcb.remote)
    elif sent != 0 and cold.backoff == 0:
        # The server would not take it. Where it gave no new cookie it has given up Fast Open.
        forget_refused(tcp, conn, seg)


cdef void forget_refused(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef uint32_t octets = 0
    if tcp_find_option(seg, KIND_FAST_OPEN, &octets) == NULL:
        cookie_jar_put(&tcp.state.fast_open_cookies, &tcp.state.secret, &tcp.tcbs[conn].remote, NULL, 0, 0, tcp.now_ns)
