"""BBR version 3 (draft-ietf-ccwg-bbr): a model of the path, its bandwidth and its round trip without a queue.

    Startup --- bandwidth grows no more, or losses ---> Drain --- the queue is empty ---> ProbeBW
                                                                                           |  ^
    ProbeBW: Down -> Cruise -> Refill -> Up -> Down ...      a round trip grew old ------> v  |
                                                                                         ProbeRTT
Names, and sections in comments, are the draft's. Octets, octets a second, nanoseconds or microseconds.
"""
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t

from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.tcb cimport Tcp

cdef enum BbrPhase:                 # the draft's BBR.state; Down to Up are ProbeBW
    BBR_STARTUP = 0
    BBR_DRAIN = 1
    BBR_DOWN = 2
    BBR_CRUISE = 3
    BBR_REFILL = 4
    BBR_UP = 5
    BBR_PROBE_RTT = 6
    BBR_NO_PHASE = 7

cdef enum BbrAckPhase:              # what the ACKs that come now tell of the last probe (2.15)
    ACKS_INIT = 0
    ACKS_REFILLING = 1
    ACKS_PROBE_STARTING = 2
    ACKS_PROBE_FEEDBACK = 3
    ACKS_PROBE_STOPPING = 4

cdef enum:
    BBR_NO_LIMIT = 0xFFFFFFFF

cdef struct BbrBounds:              # what losses say the path bears: BBR_NO_LIMIT, UINT64_MAX: nothing
    uint64_t bw_shortterm
    uint32_t inflight_shortterm
    uint32_t inflight_longterm

cdef struct Bbr:                    # in Rate.model
    # the model
    uint64_t[2] bw_filter           # most in this cycle of ProbeBW, and in the one before (MaxBwFilterLen)
    uint64_t max_bw
    uint64_t bw                     # min(max_bw, bw_shortterm)
    uint64_t bw_latest              # in this round trip
    uint64_t full_bw
    BbrBounds bounds
    uint32_t inflight_latest
    uint32_t min_rtt_us
    uint64_t min_rtt_ns             # when min_rtt_us was measured
    uint64_t probe_rtt_min_ns
    uint64_t probe_rtt_done_ns      # when ProbeRTT may end; 0: too much is in flight yet
    uint32_t probe_rtt_min_us
    # rounds
    uint32_t rounds
    uint64_t round_delivered        # the round ends when a frame is delivered that left after this
    uint64_t loss_round_delivered   # and the round whose losses are counted together
    uint64_t loss_round_lost        # C.lost when it began
    uint32_t rounds_since_probe
    uint32_t drain_round            # in which Drain began
    uint32_t full_window_round      # in which the window was last used up
    # the cycle of ProbeBW
    uint32_t probe_up_rounds
    uint64_t cycle_ns               # when it began
    uint64_t probe_wait_ns
    uint32_t probe_up_acked         # octets acknowledged towards the next segment of inflight_longterm
    uint32_t probe_up_step          # how many it takes
    # how ACKs are aggregated (5.5.9)
    uint64_t extra_acked_ns
    uint64_t extra_acked_delivered
    uint32_t[2] extra_acked         # most in these rounds, and in those before
    uint32_t extra_acked_rounds
    # what there was before a loss (5.5.11)
    uint32_t prior_cwnd             # or before ProbeRTT
    BbrBounds undo
    # what is controlled
    float pacing_gain
    float cwnd_gain
    uint8_t phase
    uint8_t undo_phase              # left because of losses, or BBR_NO_PHASE
    uint8_t ack_phase
    uint8_t full_bw_count
    uint8_t full_bw_now
    uint8_t full_bw_reached
    uint8_t round_start
    uint8_t loss_round_start
    uint8_t loss_in_round
    uint8_t much_lost               # in the round that has just ended
    uint8_t losses_in_round         # ACKs that told of losses
    uint8_t saved                   # prior_cwnd is to come back when the recovery ends
    uint8_t probe_sample            # what is delivered now left while we probed
    uint8_t probe_too_high          # the last probe met too many losses
    uint8_t probe_precautionary     # it ended at inflight_longterm, to be on the safe side
    uint8_t probe_rtt_expired
    uint8_t probe_rtt_round_done
    uint8_t idle_restart
    uint8_t rtt_seen                # the first pacing rate stands on a measured round trip

cdef void bbr_start(Tcp *tcp, uint32_t conn) noexcept nogil
cdef void bbr_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
cdef void bbr_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void bbr_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void bbr_undo(Tcp *tcp, uint32_t conn) noexcept nogil
cdef void bbr_marked(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void bbr_sampled(Tcp *tcp, uint32_t conn, const RateSample *sample) noexcept nogil
cdef void bbr_frame_lost(Tcp *tcp, uint32_t conn, const RateStamp *stamp, uint32_t octets) noexcept nogil
cdef void bbr_restarted(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline bint bbr_in_probe_bw(const Bbr *bbr) noexcept nogil:
    return BBR_DOWN <= bbr.phase <= BBR_UP


cdef inline bint bbr_probes(const Bbr *bbr) noexcept nogil:
    """IsProbingBW: losses are part of the search."""
    return bbr.phase == BBR_STARTUP or bbr.phase == BBR_REFILL or bbr.phase == BBR_UP


cdef inline void bbr_reset_shortterm(Bbr *bbr) noexcept nogil:
    bbr.bounds.bw_shortterm = UINT64_MAX
    bbr.bounds.inflight_shortterm = BBR_NO_LIMIT
