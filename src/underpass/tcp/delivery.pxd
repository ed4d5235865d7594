"""What one acknowledgment told of what was sent: gathered while frames are marked or leave the queue."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.link.frames cimport FRAME_EVER_RETRANSMITTED, Frame
from underpass.tcp.rack cimport rack_note
from underpass.tcp.rare cimport rare_of
from underpass.tcp.rate cimport rate_delivered
from underpass.tcp.reordering cimport reordering_note
from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_FRTO, TRAIT_RATE, TRAIT_SACKED
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto

cdef struct Delivery:
    uint32_t acked                  # octets by which SND.UNA advanced
    uint32_t delivered              # octets heard of for the first time, by SND.UNA or by SACK
    uint64_t sent_ns                # when the newest frame delivered was sent, if it was sent once; or 0
    seq_t reported_end              # behind what it reports
    seq_t fack                      # behind the highest octet that had been delivered before
    uint8_t duplicate               # a duplicate ACK (RFC 5681 2)
    uint8_t reported                # the peer reports a duplicate (RFC 2883)
    uint8_t again                   # a frame that was sent again left the queue
    uint8_t original                # F-RTO: what was sent before the timeout, and not since, arrived after it


cdef inline void delivery_begin(Tcp *tcp, uint32_t conn, Delivery *news) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    news.acked = news.delivered = 0
    news.sent_ns = 0
    news.reported_end = 0
    news.duplicate = news.reported = news.again = news.original = 0
    news.fack = rare_of(tcp, conn).fack if tcb.traits & TRAIT_SACKED else tcb.snd_una


cdef inline void delivery_note(Tcp *tcp, uint32_t conn, const Frame *it, const Segment *seg,
                               Delivery *news) noexcept nogil:
    """A frame not reported before has arrived, as SND.UNA or a SACK block tells."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t end = it.seq + it.length
    if tcb.traits & TRAIT_RATE:
        rate_delivered(tcp, conn, it, it.length)
    if it.flags & FRAME_EVER_RETRANSMITTED:
        news.sent_ns = 0            # Karn: what was ever sent twice tells nothing about the round trip
    else:
        news.sent_ns = it.sent_ns
        if seq_before(end, news.fack):
            reordering_note(tcp, conn, it.sent_ns)
        if tcb.traits & TRAIT_FRTO and seq_upto(end, tcp.colds[conn].recover):
            news.original = 1
    rack_note(tcp, conn, it, seg)
