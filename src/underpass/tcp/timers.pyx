"""Deadlines of a connection and their place in the wheel."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.rtt cimport rtt_timeout_ns
from underpass.tcp.tcb cimport CONN_PERSISTING, Tcb, Tcp
from underpass.tcp.wheel cimport Wheel, wheel_arm, wheel_cancel


cdef inline uint64_t earlier(uint64_t one, uint64_t other) noexcept nogil:
    """The earlier of two deadlines of which 0 means none."""
    if one == 0 or (other != 0 and other < one):
        return other
    return one


cdef void timers_arm(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t at = earlier(earlier(tcb.retransmit_at, tcb.ack_at), tcb.linger_at)
    cdef uint64_t armed = tcp.timers[conn].at_ns
    if at != 0 and (armed == 0 or at < armed):
        wheel_arm(<Wheel *>tcp.wheel, tcp.timers, conn, at)


cdef void timers_stop(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.retransmit_at = tcb.ack_at = tcb.linger_at = 0
    if tcp.timers[conn].at_ns != 0:
        wheel_cancel(<Wheel *>tcp.wheel, tcp.timers, conn)


cdef void timers_restart_retransmit(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.snd_una == tcb.snd_nxt and not tcb.flags & CONN_PERSISTING:
        tcb.retransmit_at = 0
    else:
        tcb.retransmit_at = tcp.now_ns + rtt_timeout_ns(&tcp.colds[conn])
