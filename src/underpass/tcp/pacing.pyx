"""Pacing by the timing wheel."""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t

from underpass.tcp.congestion.control cimport congestion_control
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PACED

cdef enum:
    NS_PER_S = 1000000000


cdef bint pacing_holds(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    if rare.pace_next_ns > tcp.now_ns and rare.pacing_rate != 0:
        tcb.pace_at = rare.pace_next_ns
        return True
    tcb.pace_at = 0
    if rare.pace_next_ns + PACING_CREDIT_NS < tcp.now_ns:
        rare.pace_next_ns = tcp.now_ns - PACING_CREDIT_NS
    return False


cdef bint pacing_spent(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    if rare.pacing_rate == 0:
        return False
    rare.pace_next_ns += octets * <uint64_t>NS_PER_S // rare.pacing_rate
    if rare.pace_next_ns <= tcp.now_ns + PACING_QUANTUM_NS:
        return False
    tcp.tcbs[conn].pace_at = rare.pace_next_ns
    tcp.state.counters.pace_waits += 1
    return True


cdef void pacing_set_rate(Tcp *tcp, uint32_t conn, uint64_t rate) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    if rare.pacing_limit != 0 and rate > rare.pacing_limit:
        rate = rare.pacing_limit
    rare.pacing_rate = max(rate, <uint64_t>1)


cdef void pacing_set_limit(Tcp *tcp, uint32_t conn, uint64_t limit) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    rare.pacing_limit = limit if limit != UINT64_MAX else 0
    if congestion_control(tcb.congestion).traits & TRAIT_PACED:
        if rare.pacing_limit != 0:
            rare.pacing_rate = min(rare.pacing_rate, rare.pacing_limit)
    elif rare.pacing_limit != 0:
        tcb.traits |= TRAIT_PACED
        rare.pacing_rate = rare.pacing_limit
    else:
        tcb.traits &= ~<uint32_t>TRAIT_PACED
        tcb.pace_at = 0
