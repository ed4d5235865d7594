"""HyStart++ (RFC 9406): leave the first slow start when round trips grow longer, before the queue overflows.

    slow start ---- a round trip is longer by an eighth ----> conservative slow start (a quarter of the growth)
        ^                                                        |                  |
        '------------- it was noise: shorter again --------------'                  | after five rounds
                                                                                    v
                                                                          congestion avoidance
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.seq cimport seq_t

cdef struct HyStart:                # stands first in the state of a control that begins with it
    seq_t window_end                # the round ends when this is acknowledged
    uint32_t round_min_us           # shortest round trip of this round; HYSTART_NO_RTT: none yet
    uint32_t last_min_us            # of the round before
    uint32_t baseline_us            # what made the growth conservative
    uint8_t samples                 # round trips measured in this round
    uint8_t started
    uint8_t conservative            # in CSS (RFC 9406 4.2)
    uint8_t rounds                  # of CSS

cdef enum:
    HYSTART_NO_RTT = 0xFFFFFFFF

# `acked` octets were acknowledged in slow start: let the window grow, and end the first slow start when it is time.
cdef void hystart_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
