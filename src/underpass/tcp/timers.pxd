"""The timers of a connection: four deadlines in its block, one entry in the wheel at the earliest of them.

    retransmit_at   SYN, data or FIN not acknowledged (RFC 6298), or a zero window to be probed (RFC 9293 3.8.6.1);
                    before that the PTO (TRAIT_PROBE_TIMER) or the reordering timer (TRAIT_REORDERING_TIMER, RFC 8985 8)
    ack_at          a delayed acknowledgment (RFC 9293 3.8.6.3)
    linger_at       keepalive (RFC 9293 3.8.4) or the end of FIN-WAIT-2
    pace_at         something waits for the pacing rate (see tcp/pacing.pxd)
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp

# See that the wheel fires no later than the earliest deadline. A deadline that moved later costs nothing here.
cdef void timers_arm(Tcp *tcp, uint32_t conn) noexcept nogil
cdef void timers_stop(Tcp *tcp, uint32_t conn) noexcept nogil
# Start the retransmission timer anew (RFC 6298 5.1, 5.3), or the PTO in its place, or stop it where nothing is
# outstanding (5.2).
cdef void timers_restart_retransmit(Tcp *tcp, uint32_t conn) noexcept nogil
# New data was sent: the retransmission timer starts where it did not run, the PTO starts anew (RFC 8985 7.2).
cdef void timers_sent(Tcp *tcp, uint32_t conn) noexcept nogil
# An acknowledgment came, or the reordering timer fired: look again for losses at that time (0: no need to).
cdef void timers_look_again(Tcp *tcp, uint32_t conn, uint64_t at_ns) noexcept nogil
