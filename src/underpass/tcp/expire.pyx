"""What happens when a connection's timer fires (RFC 9293 3.10.8, RFC 6298 5)."""
from libc.errno cimport ETIMEDOUT
from libc.stdint cimport uint32_t, uint64_t

from underpass.ip.network cimport NO_NEIGHBOUR, WANT_PROBE, network_want
from underpass.link.frames cimport NO_FRAME
from underpass.tcp.accept cimport accept_announce
from underpass.tcp.block cimport block_touch
from underpass.tcp.ending cimport ending_gone, ending_progress, ending_reset
from underpass.tcp.errors cimport errors_reason, errors_report
from underpass.tcp.keepalive cimport keepalive_timeout
from underpass.tcp.open cimport open_send_syn
from underpass.tcp.path cimport path_suspect
from underpass.tcp.rare cimport rare_of
from underpass.tcp.recovery cimport recovery_overdue, recovery_timeout
from underpass.tcp.rtt cimport rtt_timeout_ns
from underpass.tcp.send cimport send_first_lost, send_override, send_window_probe
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_ACTIVE, CONN_ORPHAN, CONN_PERSISTING, ESTABLISHED,
    FIN_WAIT_2, SYN_RECEIVED, SYN_SENT, Tcb, TcbCold, Tcp,
)
from underpass.tcp.timers cimport timers_arm, timers_look_again
from underpass.tcp.tlp cimport tlp_send
from underpass.tcp.trace cimport trace_resent
from underpass.tcp.traits cimport TRAIT_DEFER_ACCEPT, TRAIT_PROBE_TIMER, TRAIT_REORDERING_TIMER, TRAIT_SETTINGS

cdef enum:
    NS_PER_MS = 1000000
    TELL_AFTER = 3                  # R1: retransmissions until the application may be told (RFC 9293 3.8.3, SHLD-9, SHLD-10)
    SUSPECT_PATH_AFTER = 4          # timeouts of one segment (RFC 4821 7.7): chance loses fewer in a row
    SUSPECT_AGAIN_AFTER = 7
    ORPHAN_RETRIES = 8              # a connection that nobody waits for is given up sooner


cdef inline bint overdue(const Tcp *tcp, const TcbCold *cold) noexcept nogil:
    """RFC 9293 3.9.1.1: the user timeout, measured from the first segment that went unanswered."""
    return cold.user_timeout_ms != 0 and cold.since_ns != 0 and \
        tcp.now_ns - cold.since_ns >= <uint64_t>cold.user_timeout_ms * NS_PER_MS


cdef void give_up(Tcp *tcp, uint32_t conn) noexcept nogil:
    tcp.state.counters.user_timeouts += 1
    if tcp.tcbs[conn].state > SYN_RECEIVED:
        ending_reset(tcp, conn, errors_reason(tcp, conn))
        return
    # Whoever did not answer a SYN or SYN-ACK may never have sent one: no reset for it.
    if tcp.tcbs[conn].flags & CONN_ACTIVE:
        tcp.state.counters.connect_failures += 1
    ending_gone(tcp, conn, errors_reason(tcp, conn))


cdef void back_off(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 6298 5.5, 5.6"""
    cdef TcbCold *cold = &tcp.colds[conn]
    if cold.backoff < 255:
        cold.backoff += 1
    tcp.tcbs[conn].retransmit_at = tcp.now_ns + rtt_timeout_ns(cold)
    if cold.user_timeout_ms != 0 and cold.since_ns != 0:        # no later than that
        tcp.tcbs[conn].retransmit_at = min(tcp.tcbs[conn].retransmit_at,
                                           max(cold.since_ns + <uint64_t>cold.user_timeout_ms * NS_PER_MS,
                                               tcp.now_ns + NS_PER_MS))


cdef inline uint32_t handshake_retries(Tcp *tcp, uint32_t conn) noexcept nogil:
    """TCP_SYNCNT, or the stack's limit."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if tcb.traits & TRAIT_SETTINGS and rare_of(tcp, conn).settings.syn_retries:
        return rare_of(tcp, conn).settings.syn_retries
    return tcp.state.limits.syn_retries if tcb.flags & CONN_ACTIVE else tcp.state.limits.synack_retries


cdef void syn_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef TcbCold *cold = &tcp.colds[conn]
    if cold.since_ns == 0:                  # it never left: the next hop was not known
        open_send_syn(tcp, conn)
    elif cold.backoff >= handshake_retries(tcp, conn) or overdue(tcp, cold):
        give_up(tcp, conn)
    else:
        cold.backoff += 1
        tcp.state.counters.timeouts += 1
        tcp.state.counters.retransmits += 1
        if tcp.trace != NULL:
            trace_resent(tcp, conn, cold.iss, 0)
        open_send_syn(tcp, conn)
        if cold.backoff == TELL_AFTER:
            errors_report(tcp, conn)


cdef inline bint peer_answers(const Tcp *tcp, const TcbCold *cold) noexcept nogil:
    """Whether the peer has said something since the last probe or retransmission."""
    return tcp.now_ns - cold.heard_ns < 2 * rtt_timeout_ns(cold)


cdef inline uint64_t waiting_since_ns(const Tcp *tcp, uint32_t conn) noexcept nogil:
    """Where the user timeout begins (RFC 9293 3.9.1.1): when the oldest segment left, or with progress since, when the timer
    started anew.
    """
    cdef uint32_t frame = tcp.tcbs[conn].snd_head
    cdef uint64_t started_ns = tcp.now_ns - min(tcp.now_ns, rtt_timeout_ns(&tcp.colds[conn]))
    if frame == NO_FRAME:
        return started_ns
    return max(started_ns, tcp.pool.frames[frame].sent_ns)


cdef void retransmit_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t limit = tcp.state.limits.retries
    if tcb.flags & CONN_ORPHAN and limit > ORPHAN_RETRIES:
        limit = ORPHAN_RETRIES
    if cold.since_ns == 0:
        cold.since_ns = waiting_since_ns(tcp, conn)
    # RFC 9293 3.8.6 (SHLD-17): a peer that shrank its window to nothing and still answers is not timed out.
    if (cold.backoff >= limit and not (tcb.snd_wnd == 0 and peer_answers(tcp, cold))) or overdue(tcp, cold):
        give_up(tcp, conn)
        return
    if tcb.neighbour != NO_NEIGHBOUR:
        network_want(tcp.network, tcb.neighbour, WANT_PROBE, tcp.now_ns)
    if cold.backoff == TELL_AFTER:
        errors_report(tcp, conn)
    if cold.backoff == SUSPECT_PATH_AFTER or cold.backoff == SUSPECT_AGAIN_AFTER:
        path_suspect(tcp, conn)
    if tcb.snd_una != tcb.snd_nxt:
        recovery_timeout(tcp, conn)
        back_off(tcp, conn)
        send_first_lost(tcp, conn)


cdef void persist_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 9293 3.8.6.1: probe for as long as the peer answers; a peer that is silent is gone after the usual retries."""
    cdef TcbCold *cold = &tcp.colds[conn]
    if cold.since_ns == 0:
        cold.since_ns = tcp.now_ns
    if (cold.backoff >= tcp.state.limits.retries and not peer_answers(tcp, cold)) or overdue(tcp, cold):
        give_up(tcp, conn)
        return
    if not send_override(tcp, conn):
        send_window_probe(tcp, conn)
        back_off(tcp, conn)


cdef void reordering_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 8985 6.2 step 5: what was only late has had its time."""
    tcp.state.counters.reordering_timeouts += 1
    timers_look_again(tcp, conn, recovery_overdue(tcp, conn))


cdef void probe_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 8985 7.3: after the probe the retransmission timer runs."""
    cdef TcbCold *cold = &tcp.colds[conn]
    if cold.since_ns == 0:
        cold.since_ns = waiting_since_ns(tcp, conn)
    if overdue(tcp, cold):
        give_up(tcp, conn)
        return
    tlp_send(tcp, conn)
    tcp.tcbs[conn].retransmit_at = tcp.now_ns + rtt_timeout_ns(cold)


cdef void retransmit_due(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t kind = tcb.traits & (TRAIT_REORDERING_TIMER | TRAIT_PROBE_TIMER)
    tcb.retransmit_at = 0
    tcb.traits &= ~kind
    if kind & TRAIT_REORDERING_TIMER:
        reordering_timeout(tcp, conn)
    elif kind & TRAIT_PROBE_TIMER:
        probe_timeout(tcp, conn)
    elif tcb.state == SYN_SENT or tcb.state == SYN_RECEIVED:
        syn_timeout(tcp, conn)
    elif tcb.flags & CONN_PERSISTING:
        persist_timeout(tcp, conn)
    else:
        retransmit_timeout(tcp, conn)


cdef void orphan_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Nobody waits for it any more. What is in flight ends by ORPHAN_RETRIES; probes of a closed window have no end."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if tcb.state == FIN_WAIT_2:
        ending_gone(tcp, conn, 0)
    elif tcb.snd_una != tcb.snd_nxt and tcb.snd_wnd != 0:
        ending_progress(tcp, conn)
    else:
        tcp.state.counters.orphan_drops += 1
        ending_reset(tcp, conn, ETIMEDOUT)


cdef void linger_due(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.linger_at = 0
    if tcb.flags & CONN_ORPHAN:
        orphan_timeout(tcp, conn)
    elif tcb.traits & TRAIT_DEFER_ACCEPT:
        accept_announce(tcp, conn)          # TCP_DEFER_ACCEPT: the time for data is over
    elif tcb.state >= ESTABLISHED:
        keepalive_timeout(tcp, conn)


cdef inline bint has_come(uint64_t at, uint64_t now_ns) noexcept nogil:
    return at != 0 and at <= now_ns


cdef void expire(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not (has_come(tcb.ack_at, tcp.now_ns) or has_come(tcb.retransmit_at, tcp.now_ns)
            or has_come(tcb.linger_at, tcp.now_ns) or has_come(tcb.pace_at, tcp.now_ns)):
        timers_arm(tcp, conn)               # the deadline has moved since the timer was set
        return
    if has_come(tcb.ack_at, tcp.now_ns):
        tcb.ack_at = 0
        if tcb.flags & CONN_ACK_DELAYED:
            tcb.flags |= CONN_ACK_NOW
            tcp.state.counters.delayed_acks += 1
    if has_come(tcb.retransmit_at, tcp.now_ns):
        retransmit_due(tcp, conn)
    if tcb.state != CLOSED and has_come(tcb.linger_at, tcp.now_ns):
        linger_due(tcp, conn)
    if has_come(tcb.pace_at, tcp.now_ns):
        tcb.pace_at = 0
    block_touch(tcp, conn)
