"""What holds of a stack after each of its turns. Every rule is a sentence that is true; a broken one is returned."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame
from underpass.stack.stack cimport Stack
from underpass.tcp.congestion.control cimport CWND_MAX
from underpass.tcp.cookie_jar cimport COOKIE_FITS, COOKIE_MIN, MAX_COOKIE_PEERS, CookiePeer
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ACTIVE, CONN_COUNTED_HALF_OPEN, CONN_FIN_RECEIVED, CONN_FIN_SENT, CONN_HELD, CONN_ORPHAN, CONN_STARVED,
    CONN_TOUCHED, ESTABLISHED, LAST_ACK, MAX_LISTENERS, NO_CONN, SYN_RECEIVED, SYN_SENT, TIME_WAIT, Tcb, Tcp,
)
from underpass.tcp.traits cimport TRAIT_FAST_OPEN, TRAIT_FAST_OPEN_PENDING
from underpass.wire.seq cimport seq_before, seq_t, seq_upto

cdef enum:
    CHECKED_MARKS = FRAME_SACKED | FRAME_LOST | FRAME_RETRANSMITTED

cdef struct Sums:                   # over all connections
    uint32_t used
    uint32_t in_table
    uint32_t half_open
    uint32_t fast_open
    uint32_t starved
    uint32_t orphans
    uint64_t frames


cdef const char *broken_invariant(Tcp *tcp, unsigned int *conn) noexcept nogil:
    cdef Sums sums
    cdef const char *wrong
    cdef uint32_t i
    sums.used = sums.in_table = sums.half_open = sums.fast_open = sums.starved = sums.orphans = 0
    sums.frames = 0
    for i in range(tcp.state.tcb_fresh):
        wrong = broken_in_connection(tcp, i, &sums)
        if wrong != NULL:
            conn[0] = i
            return wrong
    conn[0] = NO_CONN
    return broken_in_sums(tcp, &sums)


cdef uint32_t fast_open_pending(const Tcp *tcp) noexcept nogil:
    cdef uint32_t total = 0
    cdef uint32_t i
    for i in range(MAX_LISTENERS):
        total += tcp.state.listeners[i].fast_open_pending
    return total


cdef const char *broken_in_cookies(const Tcp *tcp) noexcept nogil:
    """RFC 7413 4.1.1: what a SYN of ours may show."""
    cdef const CookiePeer *it
    cdef uint32_t i
    for i in range(MAX_COOKIE_PEERS):
        it = &tcp.state.fast_open_cookies.peers[i]
        if it.length and not (it.used_ns and COOKIE_MIN <= it.length <= COOKIE_FITS and it.length % 2 == 0):
            return b"a cookie that is kept has an even length that fits a SYN"
    return NULL


cdef const char *broken_in_sums(const Tcp *tcp, const Sums *sums) noexcept nogil:
    if tcp.touched != NO_CONN:
        return b"no connection waits to be attended to after a turn"
    if tcp.reserved != NO_FRAME:
        return b"no frame is reserved after a turn"
    if sums.used != tcp.state.tcb_used:
        return b"connection blocks in use are counted"
    if sums.half_open != tcp.state.half_open:
        return b"half-open connections are counted"
    if sums.fast_open != fast_open_pending(tcp):
        return b"listeners count what they serve by Fast Open before the handshake ends"
    if sums.starved != tcp.starved:
        return b"connections that wait for a frame are counted"
    if sums.orphans != tcp.state.orphans:
        return b"connections that their application has closed are counted"
    if tcp.state.demux_used != sums.in_table + tcp.state.time_wait_used:
        return b"the demultiplexer knows every connection and TIME_WAIT entry, and nothing else"
    if tcp.tx.head == tcp.tx.tail and sums.frames != tcp.pool.state.count - tcp.pool.state.free:
        return b"every frame is free or in a queue where the device holds none"
    return broken_in_cookies(tcp)


cdef const char *broken_in_connection(Tcp *tcp, uint32_t conn, Sums *sums) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const char *wrong
    if tcb.state == CLOSED and not tcb.flags & CONN_HELD:
        return NULL
    sums.used += 1
    sums.in_table += tcb.state != CLOSED and tcb.state != TIME_WAIT
    sums.half_open += (tcb.flags & CONN_COUNTED_HALF_OPEN) != 0
    sums.fast_open += tcb.state == SYN_RECEIVED and tcb.traits & TRAIT_FAST_OPEN_PENDING != 0
    sums.starved += (tcb.flags & CONN_STARVED) != 0
    sums.orphans += (tcb.flags & CONN_ORPHAN) != 0 and tcb.state != CLOSED and tcb.state != TIME_WAIT
    if tcb.flags & CONN_TOUCHED:
        return b"a connection that was attended to is not marked"
    wrong = broken_in_receiving(tcp, conn, sums)
    if wrong == NULL and tcb.state != CLOSED and tcb.state != TIME_WAIT:
        wrong = broken_in_numbers(tcp, tcb)
        if wrong == NULL:
            wrong = broken_in_sending(tcp, tcb, sums)
        if wrong == NULL:
            wrong = broken_in_fast_open(tcp, conn)
        if wrong == NULL:
            wrong = broken_in_timers(tcp, conn)
    return wrong


cdef const char *broken_in_numbers(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
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


# ------------------------------------------------------------------------------------------ queues

cdef const char *broken_in_receiving(Tcp *tcp, uint32_t conn, Sums *sums) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.rcv_head
    cdef uint32_t last = NO_FRAME
    cdef uint32_t frames = 0
    cdef uint64_t octets = 0
    cdef seq_t edge
    while frame != NO_FRAME and frames <= tcp.pool.state.count:
        it = &tcp.pool.frames[frame]
        if it.refs == 0 or it.owner != conn:
            return b"a frame in the receive queue is the connection's"
        if last != NO_FRAME and it.seq != tcp.pool.frames[last].seq + tcp.pool.frames[last].length:
            return b"the receive queue has no gap"
        octets += it.length
        frames += 1
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
    sums.frames += frames
    return broken_out_of_order(tcp, conn, frames, sums)


cdef const char *broken_out_of_order(Tcp *tcp, uint32_t conn, uint32_t in_order, Sums *sums) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.ooo_head
    cdef uint32_t frames = 0
    cdef uint64_t octets = 0
    cdef seq_t edge = tcb.rcv_nxt
    while frame != NO_FRAME and frames <= tcp.pool.state.count:
        it = &tcp.pool.frames[frame]
        if it.refs == 0 or it.owner != conn or it.length == 0:
            return b"a frame that waits out of order is the connection's and holds something"
        if not (seq_before(edge, it.seq) if frames == 0 else seq_upto(edge, it.seq)):
            return b"what waits out of order lies beyond RCV.NXT, in order, without overlap"
        edge = it.seq + it.length
        octets += it.length
        frames += 1
        frame = it.next
    if octets != tcb.ooo_bytes:
        return b"octets out of order are counted"
    if frames and not seq_upto(edge, tcb.rcv_adv):
        return b"nothing beyond the window is kept"
    if in_order + frames != tcb.rcv_frames and tcb.state != CLOSED and tcb.state != TIME_WAIT:
        return b"frames held for receiving are counted"
    sums.frames += frames
    return NULL


cdef const char *broken_in_sending(Tcp *tcp, const Tcb *tcb, Sums *sums) noexcept nogil:
    cdef Frame *it
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t frames = 0
    cdef bint is_sent = True
    cdef uint64_t sacked = 0, lost = 0, again = 0
    cdef seq_t edge = tcb.snd_una if frame == NO_FRAME else tcp.pool.frames[frame].seq
    if frame != NO_FRAME and tcb.state >= ESTABLISHED and edge != tcb.snd_una:
        return b"the send queue begins at SND.UNA"
    while frame != NO_FRAME and frames <= tcp.pool.state.count:
        it = &tcp.pool.frames[frame]
        is_sent = is_sent and frame != tcb.snd_unsent
        if it.refs == 0 or it.seq != edge or it.length == 0:
            return b"the send queue has no gap, and no empty frame"
        if not is_sent and it.flags & CHECKED_MARKS:
            return b"what was never sent has no marks"
        sacked += it.length if it.flags & FRAME_SACKED else 0
        lost += it.length if it.flags & FRAME_LOST else 0
        again += it.length if it.flags & FRAME_RETRANSMITTED else 0
        if frame == tcb.snd_unsent and tcb.state >= ESTABLISHED and it.seq != tcb.snd_nxt:
            return b"what was never sent begins at SND.NXT"
        edge = it.seq + it.length
        frames += 1
        if it.next == NO_FRAME and frame != tcb.snd_tail:
            return b"the send queue ends with its tail"
        frame = it.next
    if is_sent and tcb.snd_unsent != NO_FRAME:
        return b"the first frame never sent stands in the queue"
    if frames != tcb.snd_frames:
        return b"frames in the send queue are counted"
    if frames and edge != tcb.snd_end:
        return b"the send queue ends with what the application gave last"
    if sacked != tcb.sacked_bytes or lost != tcb.lost_bytes or again != tcb.retransmitted_bytes:
        return b"the scoreboard's sums are those of its marks"
    sums.frames += frames
    return NULL


# ------------------------------------------------------------------------------------------ Fast Open

cdef inline bint waits_for_data(const Tcb *tcb) noexcept nogil:
    """RFC 7413 4.2.1: no SYN has left, for the application has given it nothing yet."""
    return tcb.state == SYN_SENT and tcb.traits & TRAIT_FAST_OPEN_PENDING != 0


cdef const char *broken_in_fast_open(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t first = tcp.pool.frames[tcb.snd_head].length if tcb.snd_head != NO_FRAME else 0
    if tcb.traits & TRAIT_FAST_OPEN and tcb.state != SYN_SENT:
        return b"once the SYN is answered it carries nothing any more"
    if tcb.traits & TRAIT_FAST_OPEN_PENDING and tcb.state >= ESTABLISHED:
        return b"after the handshake nothing is served before its end"
    if tcb.traits & TRAIT_FAST_OPEN_PENDING and tcb.state == SYN_RECEIVED and tcb.flags & CONN_ACTIVE:
        return b"only what a peer opens is served before the handshake ends"
    if tcb.traits & TRAIT_FAST_OPEN and rare_of(tcp, conn).fast_open_octets > first:
        return b"what the SYN carried stands at the head of the send queue"
    if waits_for_data(tcb) and first != 0:
        return b"a SYN that waits for data leaves when there are some"
    return NULL


# ------------------------------------------------------------------------------------------ timers

cdef const char *broken_in_timers(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t armed = tcp.timers[conn].at_ns
    cdef uint64_t[3] deadlines = [tcb.retransmit_at, tcb.ack_at, tcb.linger_at]
    cdef uint32_t i
    for i in range(3):
        if deadlines[i] and (armed == 0 or armed > deadlines[i]):
            return b"the wheel fires no later than the connection's earliest deadline"
    if tcb.state < LAST_ACK and tcb.snd_una != tcb.snd_nxt and tcb.retransmit_at == 0 and not waits_for_data(tcb):
        return b"the retransmission timer runs while something is unacknowledged"
    return NULL


def what_is_broken(Stack stack not None):
    """A sentence that ought to be true of the stack after its turns and is not, with the connection, or None."""
    cdef unsigned int conn = NO_CONN
    cdef const char *wrong = broken_invariant(&stack.tcp, &conn)
    if wrong == NULL:
        return None
    where = "in all" if conn == NO_CONN else f"connection {conn}, state {stack.tcp.tcbs[conn].state}"
    return f"{wrong.decode()} ({where})"
