"""Trains: consecutive segments of a connection that leave as one packet, for a link that cuts it up (segmentation offload).

    emit        | headers | payload |                                   a full segment with ACK alone begins one
    train_add   | headers | payload |> | payload |> | payl |            the next ones join while it waits for the link

What a segment costs on its way through the kernel is then paid once for up to SEGMENTS_MAX of them. All segments of a
train acknowledge the same and are of one size; the last one may be shorter, and carry PSH and FIN. A retransmission may
be part of one. Nothing outlives a turn: with output_flush the packet is the link's, and the train is over.
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.ip.network cimport network_is_local
from underpass.link.frames cimport TX_HEADROOM, Frame
from underpass.link.link cimport LINK_SEGMENTATION, SEGMENTS_MAX
from underpass.tcp.ecn cimport ecn_marks
from underpass.tcp.tcb cimport Tcb, Tcp, Train
from underpass.tcp.traits cimport TRAIT_CWR_DUE, TRAIT_ECE, TRAIT_URGENT_OUT
from underpass.wire.seq cimport seq_t

cdef enum:
    TRAIN_BYTES_MAX = 65000         # TCP header and payload: with the IP header, what a length field holds
    ALONE = TRAIT_ECE | TRAIT_CWR_DUE | TRAIT_URGENT_OUT    # the next header differs from the one before

# The packet that was just queued, a full segment with ACK alone, may grow from now on. `header` is its TCP header.
cdef void train_begin(Tcp *tcp, uint32_t conn, uint8_t *packet, uint8_t *header, uint32_t tcp_bytes,
                      uint32_t payload_bytes, seq_t seq, bint marked) noexcept nogil
# Let a frame join that train_takes has accepted; consumes one reference. `flags`: PSH and FIN, beside ACK.
cdef void train_add(Tcp *tcp, uint32_t conn, uint32_t frame, uint8_t flags) noexcept nogil


cdef inline bint train_may_begin(const Tcp *tcp, const Tcb *tcb, uint32_t payload_bytes) noexcept nogil:
    """A full segment: one of the path's size, or of the frame's where that is smaller."""
    cdef uint32_t room = tcp.pool.state.chunk_bytes - TX_HEADROOM
    if tcp.link.offloads & LINK_SEGMENTATION == 0 or tcb.traits & ALONE:
        return False
    if tcp.network.loops and network_is_local(tcp.network, &tcb.remote):
        return False                # it comes back as it is
    return payload_bytes >= tcb.mss or payload_bytes >= room


cdef inline bint train_takes(const Tcp *tcp, uint32_t conn, const Frame *it) noexcept nogil:
    """Whether the frame is the next segment of the train, under the same headers.

    The queue's ring must not wrap within a packet: the link is given what lies in a row.
    """
    cdef const Train *train = &tcp.train
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if train.parts == 0 or train.conn != conn or train.end != tcp.tx.tail or train.next_seq != it.seq:
        return False
    return (it.length <= train.payload_bytes and it.length != 0 and train.parts < SEGMENTS_MAX
            and train.tcp_bytes + it.length <= TRAIN_BYTES_MAX and tcp.tx.tail & tcp.tx.mask != 0
            and tcb.rcv_nxt == train.ack and not tcb.traits & ALONE
            and ecn_marks(tcb, it.seq, it.length) == train.marked)
