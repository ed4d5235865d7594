"""Pacing: a connection with TRAIT_PACED sends at TcbRare.pacing_rate, a quantum at a time.

The wheel's tick is 1.05 ms, so that is the quantum's length too. A quantum that begins late is made up for, up to two
ticks, else timers that fire late would lower the rate.

    pace_next       now             what was sent lasts until pace_next
    |-- credit -----|-- quantum --|
    '-- sent at once -------------'-> the next pace_next: then the timer fires
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcp

cdef enum:
    PACING_QUANTUM_NS = 1 << 20     # one tick of the wheel
    PACING_CREDIT_NS = 2 << 20

# Whether nothing may leave yet; Tcb.pace_at is then when it may.
cdef bint pacing_holds(Tcp *tcp, uint32_t conn) noexcept nogil
# `octets` of payload left. True: the quantum is used up, and Tcb.pace_at is set.
cdef bint pacing_spent(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil
# What the congestion control wants, in octets a second; never more than the application's limit.
cdef void pacing_set_rate(Tcp *tcp, uint32_t conn, uint64_t rate) noexcept nogil
# SO_MAX_PACING_RATE; UINT64_MAX takes the limit away.
cdef void pacing_set_limit(Tcp *tcp, uint32_t conn, uint64_t limit) noexcept nogil
