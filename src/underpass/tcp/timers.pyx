"""Deadlines of a connection and their place in the wheel."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.rtt cimport rtt_timeout_ns
from underpass.tcp.tcb cimport CONN_PERSISTING, Tcb, Tcp
from underpass.tcp.tlp cimport tlp_may_wait, tlp_timeout_ns
from underpass.tcp.traits cimport TRAIT_PROBE_TIMER, TRAIT_REORDERING_TIMER
from underpass.tcp.wheel cimport Wheel, wheel_arm, wheel_cancel

cdef enum:
    LEAST_NS = 1000000              # a timeout that should have been is still a tick away


cdef inline uint64_t earlier(uint64_t one, uint64_t other) noexcept nogil:
    """The earlier of two deadlines of which 0 means none."""
    if one == 0 or (other != 0 and other < one):
        return other
    return one


cdef void timers_arm(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t at = earlier(earlier(tcb.retransmit_at, tcb.ack_at), earlier(tcb.linger_at, tcb.pace_at))
    cdef uint64_t armed = tcp.timers[conn].at_ns
    if at != 0 and (armed == 0 or at < armed):
        wheel_arm(<Wheel *>tcp.wheel, tcp.timers, conn, at)


cdef void timers_stop(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.retransmit_at = tcb.ack_at = tcb.linger_at = tcb.pace_at = 0
    if tcp.timers[conn].at_ns != 0:
        wheel_cancel(<Wheel *>tcp.wheel, tcp.timers, conn)


cdef inline bint outstanding(const Tcb *tcb) noexcept nogil:
    return tcb.snd_una != tcb.snd_nxt


cdef inline uint64_t first_sent_ns(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    """When the first segment not acknowledged was last sent."""
    if tcb.snd_head == NO_FRAME or tcb.snd_head == tcb.snd_unsent:
        return tcp.now_ns                   # the FIN alone
    return tcp.pool.frames[tcb.snd_head].sent_ns


cdef inline void start_probe_timer(Tcb *tcb, uint64_t now_ns, uint64_t latest_ns) noexcept nogil:
    """RFC 8985 7.2: the PTO, or when the retransmission timer would fire where that is sooner."""
    tcb.retransmit_at = min(now_ns + tlp_timeout_ns(tcb), latest_ns)
    tcb.traits |= TRAIT_PROBE_TIMER


cdef void timers_restart_retransmit(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.traits &= ~<uint32_t>(TRAIT_PROBE_TIMER | TRAIT_REORDERING_TIMER)
    if not outstanding(tcb) and not tcb.flags & CONN_PERSISTING:
        tcb.retransmit_at = 0
        return
    tcb.retransmit_at = tcp.now_ns + rtt_timeout_ns(&tcp.colds[conn])
    if tlp_may_wait(tcb) and not tcb.flags & CONN_PERSISTING:
        start_probe_timer(tcb, tcp.now_ns, tcb.retransmit_at)


cdef void timers_sent(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.retransmit_at == 0:
        timers_restart_retransmit(tcp, conn)
    elif tcb.traits & TRAIT_PROBE_TIMER:
        start_probe_timer(tcb, tcp.now_ns, first_sent_ns(tcp, tcb) + rtt_timeout_ns(&tcp.colds[conn]))


cdef void timers_look_again(Tcp *tcp, uint32_t conn, uint64_t at_ns) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t timeout_at
    if at_ns != 0:
        tcb.retransmit_at = at_ns
        tcb.traits &= ~<uint32_t>TRAIT_PROBE_TIMER
        tcb.traits |= TRAIT_REORDERING_TIMER
    elif outstanding(tcb) and (tcb.retransmit_at == 0 or tcb.traits & (TRAIT_REORDERING_TIMER | TRAIT_PROBE_TIMER)):
        # Something is known to be missing, or was: from here on the timeout guards it.
        tcb.traits &= ~<uint32_t>(TRAIT_REORDERING_TIMER | TRAIT_PROBE_TIMER)
        timeout_at = first_sent_ns(tcp, tcb) + rtt_timeout_ns(&tcp.colds[conn])
        tcb.retransmit_at = max(timeout_at, tcp.now_ns + <uint64_t>LEAST_NS)
