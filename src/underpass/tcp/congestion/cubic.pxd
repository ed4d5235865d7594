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

from underpass.tcp.congestion.hystart cimport HyStart
from underpass.tcp.tcb cimport Tcp

cdef struct Cubic:                  # in TcbRare.congestion_state; windows in octets
    HyStart hystart
    uint64_t epoch_ns               # when this stage of congestion avoidance began; 0: not yet
    uint64_t last_ns                # when the window was last used up
    double w_max                    # window before the last reduction
    double k                        # seconds from the epoch to W_max
    double w_est                    # what Reno would have by now
    float fraction                  # part of an octet by which the window has yet to grow
    uint32_t cwnd_prior             # window at the last reduction
    # as they were before the last reduction (RFC 9438 4.9)
    uint64_t epoch_ns_before
    double w_max_before
    double k_before
    double w_est_before
    uint32_t cwnd_prior_before

cdef void cubic_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
cdef void cubic_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void cubic_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void cubic_undo(Tcp *tcp, uint32_t conn) noexcept nogil
