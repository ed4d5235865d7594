"""Proportional rate reduction."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport Tcb, Tcp


cdef void prr_begin(Tcp *tcp, uint32_t conn, uint32_t used, uint32_t delivered) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    # What had been reported before does not count as delivered in this recovery.
    cdef uint32_t flight = tcb.snd_nxt - tcb.snd_una - tcb.sacked_bytes + delivered
    rare.recover_flight = max(max(flight, used), <uint32_t>1)       # RecoverFS
    rare.prr_delivered = used - flight if used > flight else 0
    rare.prr_out = 0


cdef inline uint64_t proportional(const Tcb *tcb, const TcbRare *rare) noexcept nogil:
    """CEIL(prr_delivered * ssthresh / RecoverFS)"""
    return (<uint64_t>rare.prr_delivered * tcb.ssthresh + rare.recover_flight - 1) // rare.recover_flight


cdef inline int64_t conserving(const Tcb *tcb, const TcbRare *rare, uint32_t pipe, uint32_t delivered,
                               bint safe) noexcept nogil:
    """PRR-CRB, or PRR-SSRB where it is safe."""
    cdef int64_t count = max(<int64_t>rare.prr_delivered - rare.prr_out, <int64_t>delivered)
    if safe:
        count += tcb.mss
    return min(<int64_t>tcb.ssthresh - pipe, count)


cdef void prr_update(Tcp *tcp, uint32_t conn, uint32_t delivered, bint safe) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t pipe = scoreboard_pipe(tcb, &tcp.colds[conn])
    cdef int64_t count
    rare.prr_delivered += delivered
    if pipe > tcb.ssthresh:
        count = <int64_t>proportional(tcb, rare) - rare.prr_out
    else:
        count = conserving(tcb, rare, pipe, delivered, safe)
    if rare.prr_out == 0 and count < tcb.mss:
        count = tcb.mss                 # the fast retransmission itself
    tcb.cwnd = max(pipe + <uint32_t>max(count, <int64_t>0), <uint32_t>tcb.mss)


cdef void prr_sent(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    rare_of(tcp, conn).prr_out += octets
