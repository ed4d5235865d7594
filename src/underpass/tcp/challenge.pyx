"""Challenge ACKs."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.output cimport output_control, output_next
from underpass.tcp.tcb cimport Tcp, TcbCold, TcpState
from underpass.wire.segment cimport ACK
from underpass.wire.siphash cimport siphash13_words

cdef enum:
    SECOND_NS = 1000000000


cdef bint challenge_allowed(Tcp *tcp) noexcept nogil:
    cdef TcpState *state = tcp.state
    cdef uint64_t second = tcp.now_ns // SECOND_NS
    cdef uint64_t limit = state.limits.challenge_acks_ps
    if state.challenge_second != second:
        state.challenge_second = second
        # A budget that is the same every second can be counted by a third party (CVE-2016-5696): vary it.
        state.challenge_budget = <uint32_t>(limit // 2 + siphash13_words(&state.secret, &second, 1) % (limit + 1))
    if state.challenge_budget == 0:
        state.counters.challenge_limited += 1
        return False
    state.challenge_budget -= 1
    state.counters.challenge_acks += 1
    return True


cdef bint challenge_due(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t now_ms = <uint32_t>(tcp.now_ns // 1000000)
    if cold.challenged_ms != 0 and now_ms - cold.challenged_ms < CHALLENGE_MS:
        tcp.state.counters.answer_limited += 1
        return False
    cold.challenged_ms = now_ms if now_ms else 1
    return True


cdef void challenge_ack(Tcp *tcp, uint32_t conn) noexcept nogil:
    if challenge_due(tcp, conn) and challenge_allowed(tcp):
        output_control(tcp, conn, output_next(&tcp.tcbs[conn]), ACK)
