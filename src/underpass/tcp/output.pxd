"""Segments on their way out: headers in front of the payload where it lies, then into the queue for the link."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

cdef enum Sent:
    SENT = 0
    SENT_NO_FRAME = 1               # no frame for the headers: try again when one is free
    SENT_NO_NEIGHBOUR = 2           # the next hop's MAC is not known yet; Linux has been asked

# Send (or send again) the payload of a frame of the send queue; `flags` beside ACK: PSH, FIN.
cdef Sent output_data(Tcp *tcp, uint32_t conn, uint32_t frame, uint8_t flags) noexcept nogil
# A segment without payload at sequence number `seq`: ACK and RST (at output_next), FIN.
cdef Sent output_control(Tcp *tcp, uint32_t conn, seq_t seq, uint8_t flags) noexcept nogil
# The MSS that we announce to a peer.
cdef uint16_t output_mss(const Tcp *tcp, const Address *remote) noexcept nogil
# The same, or less where the application wants it (TCP_MAXSEG).
cdef uint16_t output_announced_mss(Tcp *tcp, uint32_t conn) noexcept nogil
# SYN or SYN-ACK with the options that both sides may use.
cdef Sent output_syn(Tcp *tcp, uint32_t conn) noexcept nogil
# An answer to a segment that belongs to no connection block; `window` unscaled, timestamps when `ts` (TSval,
# TSecr are then those given).
cdef void output_answer(Tcp *tcp, const Segment *seg, seq_t number, seq_t ack, uint8_t flags, uint16_t window,
                        bint ts, uint32_t ts_val, uint32_t ts_ecr) noexcept nogil
# The end of such an answer: its TCP header with options lies in the frame, from `header` to `end`.
cdef void output_queue_answer(Tcp *tcp, const Segment *seg, uint32_t frame, uint8_t *header,
                              const uint8_t *end) noexcept nogil
# RFC 9293 3.10.7.1: the reset that answers a segment for which there is no connection.
cdef void output_reset_for(Tcp *tcp, const Segment *seg) noexcept nogil
# Hand what waits to the link. Returns how many descriptors still wait.
cdef uint32_t output_flush(Tcp *tcp) noexcept nogil


cdef inline seq_t output_next(const Tcb *tcb) noexcept nogil:
    """SND.NXT, where a segment without text is acceptable (RFC 9293 3.10.7.4, first).

    Unless the peer has taken back its window by more than scaling rounds off (RFC 9293 3.8.6, MUST-34; RFC 7323
    2.3): then only what begins within the window has its acknowledgment processed.
    """
    if tcb.snd_nxt - tcb.snd_una < tcb.snd_wnd + (<uint32_t>1 << tcb.snd_scale):
        return tcb.snd_nxt
    return tcb.snd_una + tcb.snd_wnd
