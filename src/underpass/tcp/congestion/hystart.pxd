"""HyStart++ (RFC 9406), with the ACK train of HyStart: leave the first slow start before the queue overflows.

    slow start ---- a round trip is longer by an eighth ----> conservative slow start (a quarter of the growth)
     |  ^                                                        |           |      |
     |  '------------- it was noise: shorter again --------------'           |      | after five rounds
     |                                                                       |      v
     '---- acknowledgments come close together for half a round trip --------'--> congestion avoidance

RFC 9406 compares the shortest round trips of two rounds. A flight that just fills the path has a short round trip at its
head, though its tail fills the queue: delay tells of it a round later, when the window is twice as large, or four times
the path, and a queue of one bandwidth-delay product loses the rest. The ACK train (Ha and Rhee, Taming the elephants, 2011,
section 4; RFC 9438 4.10 names HyStart as an alternative; Linux has it) tells at once: acknowledgments that follow each
other closely for half of the shortest round trip are those of a flight of more than half the path, and the window, which
lies a flight's half above that by then, is one to one and a half times the path. Who paces has no such trains, and within
round trips of less than 4 ms a processor's pauses look like them.
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.seq cimport seq_t

cdef struct HyStart:                # stands first in the state of a control that begins with it
    seq_t window_end                # the round ends when this is acknowledged
    uint32_t round_min_us           # shortest round trip of this round; HYSTART_NO_RTT: none yet
    uint32_t last_min_us            # of the round before
    uint32_t baseline_us            # what made the growth conservative
    seq_t train_end                 # what was sent when the present flight's first ACK came; the train is of that flight
    uint32_t train_us               # when that was, and when the last ACK of the train came: of a clock that wraps
    uint32_t last_us
    uint8_t samples                 # round trips measured in this round
    uint8_t started
    uint8_t conservative            # in CSS (RFC 9406 4.2)
    uint8_t rounds                  # of CSS

cdef enum:
    HYSTART_NO_RTT = 0xFFFFFFFF

# `acked` octets were acknowledged in slow start: let the window grow, and end the first slow start when it is time.
cdef void hystart_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
