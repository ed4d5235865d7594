"""BBR's state machine: Startup, Drain, the four phases of ProbeBW, ProbeRTT (5.3)."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.bbr cimport Bbr
from underpass.tcp.rate_sample cimport RateSample
from underpass.tcp.tcb cimport Tcb, Tcp

cdef void bbr_enter_startup(Bbr *bbr) noexcept nogil
cdef void bbr_start_down(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil
cdef void bbr_start_refill(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil
# One step of the machine, with an ACK's sample.
cdef void bbr_step(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil
# ProbeRTT's time may be over.
cdef void bbr_check_probe_rtt_done(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil
# Octets in flight that leave no queue, in ProbeRTT (5.6.4.5).
cdef uint32_t bbr_probe_rtt_window(const Tcb *tcb, const Bbr *bbr) noexcept nogil
# Under inflight_longterm, with room for others.
cdef uint32_t bbr_with_headroom(const Tcb *tcb, const Bbr *bbr) noexcept nogil
