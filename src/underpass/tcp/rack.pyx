"""RACK: which segments are lost, by time."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame,
)
from underpass.tcp.reordering cimport reordering_window_ns
from underpass.tcp.scoreboard cimport SCOREBOARD_VISITS, scoreboard_lose, scoreboard_run_end
from underpass.tcp.tcb cimport Tcb, Tcp


cdef inline bint in_flight(const Frame *it) noexcept nogil:
    return it.flags & (FRAME_LOST | FRAME_RETRANSMITTED) != FRAME_LOST


cdef uint64_t rack_detect_loss(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The walk ends at the first segment that was sent once, and later than the last one delivered: all behind
    it were sent later still.
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *frames = tcp.pool.frames
    cdef uint64_t patience_ns = <uint64_t>tcb.rack_rtt_us * 1000 + reordering_window_ns(tcp, conn)
    cdef uint64_t look_again_ns = 0
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t visits = 0
    cdef Frame *it
    while frame != tcb.snd_unsent and frame != NO_FRAME and visits < SCOREBOARD_VISITS:
        visits += 1
        it = &frames[frame]
        if it.flags & FRAME_SACKED:
            it = &frames[scoreboard_run_end(frames, frame)]
        elif in_flight(it):
            if rack_sent_after(tcb.rack_ns, tcb.rack_end, it.sent_ns, it.seq + it.length):
                if it.sent_ns + patience_ns <= tcp.now_ns:
                    scoreboard_lose(tcp, tcb, frame)
                elif it.sent_ns + patience_ns > look_again_ns:
                    look_again_ns = it.sent_ns + patience_ns
            elif not it.flags & FRAME_EVER_RETRANSMITTED:
                break
        frame = it.next
    return look_again_ns
