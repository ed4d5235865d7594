"""BBR and losses."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.bbr cimport (
    BBR_NO_LIMIT, BBR_NO_PHASE, BBR_PROBE_RTT, BBR_STARTUP, BBR_UP, Bbr, bbr_probes,
)
from underpass.tcp.congestion.bbr_model cimport bbr_reset_full_bw, bbr_target
from underpass.tcp.congestion.bbr_phases cimport bbr_enter_startup, bbr_start_down, bbr_start_refill
from underpass.tcp.congestion.control cimport CWND_MAX
from underpass.tcp.rate cimport Rate, rate_of
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, CONN_SACK, Tcb, Tcp

cdef extern from "<math.h>" nogil:
    double sqrt(double)

cdef double LOSS_THRESH = 0.02      # 2.6
cdef double BETA = 0.7

cdef enum:
    LOSSES_COUNTED = 255


# ---------------------------------------------------------------------------------------------- what there was

cdef void bbr_save_cwnd(const Tcb *tcb, Bbr *bbr) noexcept nogil:
    if tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) or bbr.saved or bbr.phase == BBR_PROBE_RTT:
        bbr.prior_cwnd = max(bbr.prior_cwnd, tcb.cwnd)
    else:
        bbr.prior_cwnd = tcb.cwnd


cdef void bbr_restore_cwnd(Tcb *tcb, Bbr *bbr) noexcept nogil:
    tcb.cwnd = max(tcb.cwnd, bbr.prior_cwnd)


cdef void save_state(const Tcb *tcb, Bbr *bbr) noexcept nogil:
    """SaveStateUponLoss, once for a recovery: the losses of its later round trips are no other ones to undo."""
    bbr_save_cwnd(tcb, bbr)
    if bbr.saved:
        return
    bbr.saved = True
    bbr.undo_phase = BBR_NO_PHASE
    bbr.undo = bbr.bounds


# ---------------------------------------------------------------------------------------------- each round trip

cdef void bbr_reset_signals(Bbr *bbr) noexcept nogil:
    bbr.loss_in_round = False
    bbr.bw_latest = 0
    bbr.inflight_latest = 0


cdef inline uint32_t delivered_in(const RateSample *sample) noexcept nogil:
    return <uint32_t>min(sample.delivered, <uint64_t>CWND_MAX)


cdef void bbr_update_signals(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    cdef const Rate *rate = rate_of(tcp, conn)
    bbr.loss_round_start = sample.prior_delivered >= bbr.loss_round_delivered
    if bbr.loss_round_start:
        bbr.much_lost = bbr_too_much_lost(&tcp.tcbs[conn], rate.lost - bbr.loss_round_lost,
                                          rate.delivered - bbr.loss_round_delivered)
        bbr.loss_round_delivered = rate.delivered
        bbr.loss_round_lost = rate.lost
    bbr.bw_latest = max(bbr.bw_latest, sample.rate)
    bbr.inflight_latest = max(bbr.inflight_latest, delivered_in(sample))
    if sample.newly_lost != 0 and bbr.losses_in_round < LOSSES_COUNTED:
        bbr.losses_in_round += 1


cdef void bbr_adapt_shortterm(const Tcb *tcb, Bbr *bbr) noexcept nogil:
    if not bbr.loss_round_start:
        return
    if bbr.much_lost and not bbr_probes(bbr):
        follow_delivery(tcb, bbr)
    bbr.loss_in_round = False


cdef void follow_delivery(const Tcb *tcb, Bbr *bbr) noexcept nogil:
    """InitLowerBounds, LossLowerBounds: no lower than 0.7 of what they were."""
    bbr.bounds.bw_shortterm = min(bbr.bounds.bw_shortterm, bbr.max_bw)
    if bbr.bounds.inflight_shortterm == <uint32_t>BBR_NO_LIMIT:
        bbr.bounds.inflight_shortterm = tcb.cwnd
    bbr.bounds.bw_shortterm = max(bbr.bw_latest, <uint64_t>(bbr.bounds.bw_shortterm * BETA))
    bbr.bounds.inflight_shortterm = max(bbr.inflight_latest, <uint32_t>(bbr.bounds.inflight_shortterm * BETA))


cdef void bbr_advance_signals(Bbr *bbr, const RateSample *sample) noexcept nogil:
    if bbr.loss_round_start:
        bbr.bw_latest = sample.rate
        bbr.inflight_latest = delivered_in(sample)
        bbr.losses_in_round = 0
    bbr.bw = min(bbr.max_bw, bbr.bounds.bw_shortterm)


# ---------------------------------------------------------------------------------------------- each loss

cdef bint bbr_too_much_lost(const Tcb *tcb, uint64_t lost, uint64_t inflight) noexcept nogil:
    """Losses at the rate that the path may have are now more, now fewer: what exceeds it by chance (its standard
    deviation, in segments the root of how many are expected) says nothing. Without SACK one loss a round trip is known.
    """
    cdef double expected = inflight * LOSS_THRESH
    return lost > expected + sqrt(expected * tcb.mss) or (lost != 0 and not tcb.flags & CONN_SACK)


cdef void bbr_note_loss(Tcp *tcp, uint32_t conn, Bbr *bbr, uint32_t octets) noexcept nogil:
    if not bbr.loss_in_round:
        bbr.loss_round_delivered = rate_of(tcp, conn).delivered
        bbr.loss_round_lost = rate_of(tcp, conn).lost - octets
        save_state(&tcp.tcbs[conn], bbr)
    bbr.loss_in_round = True


cdef double bbr_inflight_at_loss(const RateStamp *stamp, double lost, uint32_t octets) noexcept nogil:
    """InflightAtLoss: what was in flight before this frame, and of the frame what made the loss too much."""
    cdef double before = <double>stamp.inflight - octets
    cdef double prefix = (LOSS_THRESH * before - (lost - octets)) / (1 - LOSS_THRESH)
    return before + prefix


cdef void bbr_inflight_too_high(Tcp *tcp, uint32_t conn, Bbr *bbr, double inflight, bint app_limited) noexcept nogil:
    """HandleInflightTooHigh: no lower than 0.7 of the target, as with CUBIC."""
    cdef double least = bbr_target(&tcp.tcbs[conn], bbr) * BETA
    bbr.probe_too_high = True
    bbr.probe_sample = False                # once for each probe
    if not app_limited:
        bbr.bounds.inflight_longterm = <uint32_t>min(max(inflight, least), <double>CWND_MAX)
    if bbr.phase == BBR_UP:
        bbr.undo_phase = BBR_UP
        bbr_start_down(tcp, conn, bbr)


# ---------------------------------------------------------------------------------------------- undo

cdef void bbr_take_back(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    """HandleSpuriousLossDetection"""
    bbr_restore_cwnd(&tcp.tcbs[conn], bbr)
    bbr.saved = False
    bbr.loss_in_round = False
    bbr_reset_full_bw(bbr, 0)
    bbr.bounds.bw_shortterm = max(bbr.bounds.bw_shortterm, bbr.undo.bw_shortterm)
    bbr.bounds.inflight_shortterm = max(bbr.bounds.inflight_shortterm, bbr.undo.inflight_shortterm)
    bbr.bounds.inflight_longterm = max(bbr.bounds.inflight_longterm, bbr.undo.inflight_longterm)
    if bbr.undo_phase == BBR_STARTUP and bbr.phase != BBR_STARTUP:
        bbr.full_bw_reached = False
        if bbr.phase != BBR_PROBE_RTT:
            bbr_enter_startup(bbr)
    elif bbr.undo_phase == BBR_UP and bbr.phase != BBR_UP and bbr.phase != BBR_PROBE_RTT:
        bbr_start_refill(tcp, conn, bbr)
    bbr.undo_phase = BBR_NO_PHASE
