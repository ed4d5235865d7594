"""Buffers that fit the path: dynamic right-sizing of the receive window, and of the send queue.

The receiver measures how much arrives, and is read, in a round trip, and offers a multiple of it, so that the
window never holds the sender back. A sender's queue has room for two congestion windows: one in flight, and one
that the application fills in the meantime. Both begin small (`rcv_initial_bytes`, `snd_initial_frames`) and grow up to
`rcv_bytes` and `snd_frames`, unless the application chose a size itself; and neither takes more than its share of the
frames that are free in the pool (Choudhury and Hahne, 1998), however large it may be.
"""
from libc.stdint cimport int32_t, uint32_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_NOTSENT_LOWAT
from underpass.wire.segment cimport Segment

cdef enum:
    SND_SHARE_SHIFT = 1             # a send queue may claim half of what is free
    SND_FLOOR = 8                   # frames that it may have in any case
    SND_UNASKED = 2                 # so short a queue is always one that takes more

# Enough has arrived to look at: widen the window where more comes in a round trip than it is made for.
cdef void autosize_receive(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
# `acked` octets have left the queue, and the application waits for room: widen the queue to twice the congestion window,
# or to twice what was in flight where much of that had arrived behind a hole.
cdef void autosize_send(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
# Whether the send queue takes no frame more.
cdef bint autosize_is_full(Tcp *tcp, uint32_t conn) noexcept nogil
# Whether less is unsent than the application's TCP_NOTSENT_LOWAT, or than half of it where `wake`.
cdef bint autosize_below_lowat(Tcp *tcp, uint32_t conn, bint wake) noexcept nogil


cdef inline bint autosize_receive_due(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    return tcb.rcv_nxt - cold.rcv_space_seq >= tcb.rcv_limit >> 2


cdef inline uint32_t autosize_send_limit(const Tcp *tcp, const TcbCold *cold) noexcept nogil:
    """Frames that the send queue may hold now: its limit, or its share where frames are scarce."""
    cdef int32_t spare = <int32_t>(tcp.pool.state.free - tcp.pool.state.reserve)
    cdef uint32_t share = <uint32_t>spare >> SND_SHARE_SHIFT if spare > 2 * SND_FLOOR else SND_FLOOR
    return min(cold.snd_limit, share)


cdef inline bint autosize_has_room(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Whether so much of the send queue is empty that it is worth a word to the application."""
    cdef uint32_t limit = autosize_send_limit(tcp, &tcp.colds[conn])
    if tcp.tcbs[conn].snd_frames > limit - (limit >> 2):
        return False
    return not tcp.tcbs[conn].traits & TRAIT_NOTSENT_LOWAT or autosize_below_lowat(tcp, conn, True)
