"""What tcp/rate.pyx keeps of each frame, and what it hands to the congestion control; names of draft-ietf-ccwg-bbr 4.1.2."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.wire.seq cimport seq_t

cdef struct RateStamp:              # in the arena, one for each frame of the pool; octets
    uint64_t delivered_ns           # P.delivered_time: C.delivered_time when it left
    uint64_t first_sent_ns          # P.first_send_time
    uint64_t delivered              # P.delivered
    uint64_t lost                   # P.lost
    uint32_t inflight               # P.tx_in_flight: this frame counted
    uint32_t app_limited            # P.is_app_limited

cdef struct RateSample:             # RS: what one acknowledgment tells
    uint64_t prior_delivered        # P.delivered of the newest frame that it delivers
    uint64_t prior_ns               # P.delivered_time
    uint64_t send_elapsed_ns
    uint64_t delivered              # octets delivered over the interval
    uint64_t lost                   # octets lost since that frame left
    uint64_t rate                   # octets a second; 0: no good sample
    uint32_t rtt_us                 # of the newest frame; 0: it was sent twice
    uint32_t inflight               # when that frame left
    uint32_t newly_acked            # by this acknowledgment, SACK counted
    uint32_t newly_lost             # since the acknowledgment before
    seq_t end                       # behind the newest frame
    uint8_t has_data                # something was delivered
    uint8_t app_limited
