"""CUBIC (RFC 9438): the window is a cubic function of the time since the last reduction.

    cwnd |            . W_max . . . . . . . . .  _
         |                      ___---'''''--- /
         |                _.-'     plateau         beyond it: convex, probing
         |             .'   concave
         | beta*W_max /
         +-----------|--------------|---------------> t
                     epoch          K
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold

cdef struct Cubic:                  # the 48 octets of TcbCold.congestion_state; windows in octets
    uint64_t epoch_ns               # when this stage of congestion avoidance began; 0: not yet
    uint64_t last_ns                # when the window was last used up
    double w_max                    # window before the last reduction
    double k                        # seconds from the epoch to W_max
    double w_est                    # what Reno would have by now
    float fraction                  # part of an octet by which the window has yet to grow
    uint32_t cwnd_prior             # window at the last reduction

cdef void cubic_start(Tcb *tcb, TcbCold *cold, uint64_t now_ns) noexcept nogil
cdef void cubic_acked(Tcb *tcb, TcbCold *cold, uint32_t acked, uint64_t now_ns) noexcept nogil
cdef void cubic_lost(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil
cdef void cubic_timed_out(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil
