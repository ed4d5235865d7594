"""BBR and losses: what they say that the path bears (5.5.10), and how that is taken back (5.5.11)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.bbr cimport Bbr
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.tcb cimport Tcb, Tcp

# SaveCwnd and RestoreCwnd (5.6.4.4): the window from before a recovery or ProbeRTT.
cdef void bbr_save_cwnd(const Tcb *tcb, Bbr *bbr) noexcept nogil
cdef void bbr_restore_cwnd(Tcb *tcb, Bbr *bbr) noexcept nogil
# A sample begins to be worked on: what was delivered in this round trip, and in it was there a loss.
cdef void bbr_update_signals(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil
# At the end of a round trip with losses the short-term bounds follow what was delivered.
cdef void bbr_adapt_shortterm(const Tcb *tcb, Bbr *bbr) noexcept nogil
# All else is done with the sample: AdvanceLatestDeliverySignals, BoundBWForModel.
cdef void bbr_advance_signals(Bbr *bbr, const RateSample *sample) noexcept nogil
cdef void bbr_reset_signals(Bbr *bbr) noexcept nogil
# IsInflightTooHigh: more of what left after a segment was lost than the path may lose.
cdef bint bbr_too_much_lost(const Tcb *tcb, uint64_t lost, uint64_t inflight) noexcept nogil
# So many octets were lost, which C.lost counts already, or something was marked instead.
cdef void bbr_note_loss(Tcp *tcp, uint32_t conn, Bbr *bbr, uint32_t octets) noexcept nogil
# While we probe: what left with so much in flight met too many losses.
cdef void bbr_inflight_too_high(Tcp *tcp, uint32_t conn, Bbr *bbr, double inflight, bint app_limited) noexcept nogil
# A frame was lost: with which octet did losses exceed the threshold?
cdef double bbr_inflight_at_loss(const RateStamp *stamp, double lost, uint32_t octets) noexcept nogil
# The losses were none.
cdef void bbr_take_back(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil
