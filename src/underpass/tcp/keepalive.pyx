"""Probes to a silent peer."""
from libc.errno cimport ETIMEDOUT
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.block cimport block_touch
from underpass.tcp.ending cimport ending_reset
from underpass.tcp.output cimport output_control
from underpass.tcp.tcb cimport CONN_KEEPALIVE, CONN_ORPHAN, ESTABLISHED, TIME_WAIT, Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_DEFER_ACCEPT
from underpass.wire.segment cimport ACK

cdef enum:
    NS_PER_MS = 1000000


cdef void keepalive_arm(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    # The timer of an orphan, and of a connection whose application waits for data, has another purpose.
    if not tcb.flags & CONN_KEEPALIVE or tcb.flags & CONN_ORPHAN or tcb.traits & TRAIT_DEFER_ACCEPT or \
            not ESTABLISHED <= tcb.state < TIME_WAIT:
        return
    if cold.probes == 0 or cold.heard_ns >= cold.probed_ns:
        tcb.linger_at = cold.heard_ns + <uint64_t>cold.keep_idle_ms * NS_PER_MS
        block_touch(tcp, conn)


cdef inline bint silent_too_long(const Tcp *tcp, const TcbCold *cold) noexcept nogil:
    """All probes went unanswered; or where there is a user timeout, that instead (RFC 5482 3)."""
    if cold.user_timeout_ms != 0:
        return cold.probes != 0 and tcp.now_ns - cold.heard_ns >= <uint64_t>cold.user_timeout_ms * NS_PER_MS
    return cold.probes >= cold.keep_count


cdef void keepalive_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint64_t due = cold.heard_ns + <uint64_t>cold.keep_idle_ms * NS_PER_MS
    if not tcb.flags & CONN_KEEPALIVE:
        return
    if cold.heard_ns >= cold.probed_ns:
        cold.probes = 0                     # the last one was answered
    if due > tcp.now_ns:
        tcb.linger_at = due
    elif tcb.snd_una != tcb.snd_nxt or tcb.snd_unsent != NO_FRAME:
        # MUST-26: not while data are outstanding; retransmissions and window probes tell whether the peer lives.
        tcb.linger_at = tcp.now_ns + <uint64_t>cold.keep_idle_ms * NS_PER_MS
    elif silent_too_long(tcp, cold):
        tcp.state.counters.keepalive_drops += 1
        ending_reset(tcp, conn, ETIMEDOUT)
    else:
        cold.probes += 1
        cold.probed_ns = tcp.now_ns
        tcp.state.counters.keepalives += 1
        output_control(tcp, conn, tcb.snd_una - 1, ACK)     # an old number: it must be answered (3.10.7.4, first)
        tcb.linger_at = tcp.now_ns + <uint64_t>cold.keep_interval_ms * NS_PER_MS
