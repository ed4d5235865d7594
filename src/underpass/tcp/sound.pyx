"""What holds of a connection."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.ip.network cimport MAX_NEIGHBOURS, NEIGHBOUR_FREE, NO_NEIGHBOUR
from underpass.link.frames cimport FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame
from underpass.tcp.congestion.control cimport CONGESTION_CONTROLS, CWND_MAX
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ACTIVE, CONN_FIN_RECEIVED, CONN_FIN_SENT, ESTABLISHED, LAST_ACK, MAX_APPS, MAX_LISTENERS, NO_CONN, NO_LISTENER,
    SACKS_KEPT, SYN_RECEIVED, SYN_SENT, TIME_WAIT, Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport TRAIT_FAST_OPEN, TRAIT_FAST_OPEN_PENDING
from underpass.wire.seq cimport seq_before, seq_t, seq_upto

cdef enum:
    CHECKED_MARKS = FRAME_SACKED | FRAME_LOST | FRAME_RETRANSMITTED
    SCALE_MAX = 14                  # RFC 7323 2.3


# ------------------------------------------------------------------------------------------ fields

cdef const char *sound_fields(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    if not SYN_SENT <= tcb.state <= LAST_ACK:
        return b"a connection is in a state of RFC 9293"
    if tcb.app >= MAX_APPS or tcb.congestion >= CONGESTION_CONTROLS:
        return b"a connection has an application and a congestion control"
    if tcb.local_port == 0 or tcb.remote_port == 0:
        return b"both ports have numbers"
    if tcb.rcv_scale > SCALE_MAX or tcb.snd_scale > SCALE_MAX:
        return b"windows are scaled by 14 at most"
    if tcb.neighbour != NO_NEIGHBOUR and (
            tcb.neighbour >= MAX_NEIGHBOURS or tcp.network.neighbours[tcb.neighbour].state == NEIGHBOUR_FREE):
        return b"the next hop is a neighbour that is known"
    if cold.listener != NO_LISTENER and cold.listener >= MAX_LISTENERS:
        return b"a listener has a place in the table"
    if cold.template.length not in (34, 38, 54, 58) or cold.template.ip_offset not in (14, 18):
        return b"headers have one of four lengths"
    if cold.sack_count > SACKS_KEPT:
        return b"no more is reported than a segment holds"
    return NULL


# ------------------------------------------------------------------------------------------ queues

cdef inline bint visits(Tcp *tcp, uint32_t conn, uint32_t frame, uint32_t *claims) noexcept nogil:
    """Whether a queue may lead to this frame: it is one, is the connection's, and stands in no queue that was looked at."""
    cdef const Frame *it
    if frame >= tcp.pool.state.count:
        return False
    it = &tcp.pool.frames[frame]
    if it.refs == 0 or it.owner != conn or <uint32_t>it.offset + it.length > tcp.pool.state.chunk_bytes:
        return False
    if claims == NULL:
        return True
    if claims[frame] != NO_CONN:
        return False
    claims[frame] = conn
    return True


cdef const char *sound_receiving(Tcp *tcp, uint32_t conn, uint32_t *claims, uint64_t *frames) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.rcv_head
    cdef uint32_t last = NO_FRAME
    cdef uint32_t count = 0
    cdef uint64_t octets = 0
    cdef seq_t edge
    while frame != NO_FRAME and count <= tcp.pool.state.count:
        if not visits(tcp, conn, frame, claims):
            return b"a frame in the receive queue is the connection's"
        it = &tcp.pool.frames[frame]
        if last != NO_FRAME and it.seq != tcp.pool.frames[last].seq + tcp.pool.frames[last].length:
            return b"the receive queue has no gap"
        octets += it.length
        count += 1
        last = frame
        frame = it.next
    if last != tcb.rcv_tail:
        return b"the receive queue ends with its tail"
    if octets != tcb.rcv_bytes:
        return b"octets in the receive queue are counted"
    if last != NO_FRAME and tcb.state != CLOSED and tcb.state != TIME_WAIT:
        edge = tcp.pool.frames[last].seq + tcp.pool.frames[last].length
        if edge + ((tcb.flags & CONN_FIN_RECEIVED) != 0) != tcb.rcv_nxt:
            return b"the receive queue ends at RCV.NXT"
    frames[0] += count
    return out_of_order(tcp, conn, count, claims, frames)


cdef const char *out_of_order(Tcp *tcp, uint32_t conn, uint32_t in_order, uint32_t *claims, uint64_t *frames) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.ooo_head
    cdef uint32_t count = 0
    cdef uint64_t octets = 0
    cdef seq_t edge = tcb.rcv_nxt
    while frame != NO_FRAME and count <= tcp.pool.state.count:
        it = &tcp.pool.frames[frame] if visits(tcp, conn, frame, claims) else NULL
        if it == NULL or it.length == 0:
            return b"a frame that waits out of order is the connection's and holds something"
        if not (seq_before(edge, it.seq) if count == 0 else seq_upto(edge, it.seq)):
            return b"what waits out of order lies beyond RCV.NXT, in order, without overlap"
        edge = it.seq + it.length
        octets += it.length
        count += 1
        frame = it.next
    if octets != tcb.ooo_bytes:
        return b"octets out of order are counted"
    if count and not seq_upto(edge, tcb.rcv_adv):
        return b"nothing beyond the window is kept"
    if in_order + count != tcb.rcv_frames and tcb.state != CLOSED and tcb.state != TIME_WAIT:
        return b"frames held for receiving are counted"
    frames[0] += count
    return NULL


cdef const char *sound_sending(Tcp *tcp, uint32_t conn, uint32_t *claims, uint64_t *frames) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t count = 0
    cdef bint is_sent = True
    cdef uint64_t sacked = 0, lost = 0, again = 0
    cdef seq_t edge = tcb.snd_una if frame >= tcp.pool.state.count else tcp.pool.frames[frame].seq
    if frame != NO_FRAME and tcb.state >= ESTABLISHED and edge != tcb.snd_una:
        return b"the send queue begins at SND.UNA"
    while frame != NO_FRAME and count <= tcp.pool.state.count:
        it = &tcp.pool.frames[frame] if visits(tcp, conn, frame, claims) else NULL
        is_sent = is_sent and frame != tcb.snd_unsent
        if it == NULL or it.seq != edge or it.length == 0:
            return b"the send queue has no gap, and no empty frame"
        if not is_sent and it.flags & CHECKED_MARKS:
            return b"what was never sent has no marks"
        sacked += it.length if it.flags & FRAME_SACKED else 0
        lost += it.length if it.flags & FRAME_LOST else 0
        again += it.length if it.flags & FRAME_RETRANSMITTED else 0
        if frame == tcb.snd_unsent and tcb.state >= ESTABLISHED and it.seq != tcb.snd_nxt:
            return b"what was never sent begins at SND.NXT"
        edge = it.seq + it.length
        count += 1
        if it.next == NO_FRAME and frame != tcb.snd_tail:
            return b"the send queue ends with its tail"
        frame = it.next
    if is_sent and tcb.snd_unsent != NO_FRAME:
        return b"the first frame never sent stands in the queue"
    if count != tcb.snd_frames:
        return b"frames in the send queue are counted"
    if count and edge != tcb.snd_end:
        return b"the send queue ends with what the application gave last"
    if sacked != tcb.sacked_bytes or lost != tcb.lost_bytes or again != tcb.retransmitted_bytes:
        return b"the scoreboard's sums are those of its marks"
    frames[0] += count
    return NULL


# ------------------------------------------------------------------------------------------ numbers

cdef const char *sound_numbers(const Tcb *tcb) noexcept nogil:
    """RFC 9293 3.3.1, 3.4; the windows of RFC 5681."""
    if not seq_upto(tcb.snd_una, tcb.snd_nxt):
        return b"SND.UNA =< SND.NXT"
    if tcb.state >= ESTABLISHED and tcb.flags & CONN_FIN_SENT and tcb.snd_nxt != tcb.snd_end + 1:
        return b"after FIN there is nothing"
    if tcb.state >= ESTABLISHED and not tcb.flags & CONN_FIN_SENT and not seq_upto(tcb.snd_nxt, tcb.snd_end):
        return b"SND.NXT is not beyond what the application gave"
    if tcb.state >= ESTABLISHED and not (seq_upto(tcb.rcv_acked, tcb.rcv_nxt)
                                         and seq_upto(tcb.rcv_nxt, tcb.rcv_adv)):
        return b"acknowledged =< RCV.NXT =< the edge of the window"
    if tcb.state >= ESTABLISHED and not tcb.mss <= tcb.cwnd <= CWND_MAX:
        return b"the congestion window holds a segment, and no more than a window can"
    if tcb.mss == 0:
        return b"a segment holds something"
    return NULL


# ------------------------------------------------------------------------------------------ Fast Open

cdef bint sound_waits_for_data(const Tcb *tcb) noexcept nogil:
    """RFC 7413 4.2.1: no SYN has left, for the application has given it nothing yet."""
    return tcb.state == SYN_SENT and tcb.traits & TRAIT_FAST_OPEN_PENDING != 0


cdef const char *sound_fast_open(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t first = tcp.pool.frames[tcb.snd_head].length if tcb.snd_head < tcp.pool.state.count else 0
    if tcb.traits & TRAIT_FAST_OPEN and tcb.state != SYN_SENT:
        return b"once the SYN is answered it carries nothing any more"
    if tcb.traits & TRAIT_FAST_OPEN_PENDING and tcb.state >= ESTABLISHED:
        return b"after the handshake nothing is served before its end"
    if tcb.traits & TRAIT_FAST_OPEN_PENDING and tcb.state == SYN_RECEIVED and tcb.flags & CONN_ACTIVE:
        return b"only what a peer opens is served before the handshake ends"
    if tcb.traits & TRAIT_FAST_OPEN and rare_of(tcp, conn).fast_open_octets > first:
        return b"what the SYN carried stands at the head of the send queue"
    if sound_waits_for_data(tcb) and first != 0:
        return b"a SYN that waits for data leaves when there are some"
    return NULL
