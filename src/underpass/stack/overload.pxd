"""How much more a worker can take, told to the XDP program (link/gate.pxd): it refuses the rest before it costs anything.

Four signals, looked at once a millisecond, three of them as a share of 256:

    frames        how many of the frames that data may use are taken
    backlog       how full the fullest receive ring is, smoothed over some looks: the processor does not keep up
    connections   how many of the connection blocks are in use: nobody else can be accepted
    strangers     resets that were sent: a flood of segments for no connection, which level 1 keeps away

Each asks for a level, 0 to 3, strangers for 1 at most; the highest counts. It rises at once, and falls by one when nothing has asked for it for a
while, by thresholds that lie lower. A level that is not confirmed ends by itself: that of a worker that sleeps or is
no more.

    level 0  --a signal passes an upper threshold-->  1, 2 or 3
             <--below the lower one for CALM_NS-----  one down at a time
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.gate cimport Gate
from underpass.tcp.tcb cimport Tcp

cdef enum:
    OVERLOAD_LEVELS = 3
    OVERLOAD_LOOK_NS = 1 << 20

cdef struct Overload:
    Gate *gate
    bint refuses                    # else only the half-open connections are told
    uint64_t look_at_ns
    uint64_t asked_ns               # when something last asked for the level
    uint64_t until_ns               # how long what was told holds
    uint32_t level
    uint32_t half_open              # as told
    uint32_t backlog                # smoothed, in 256ths of 256ths
    uint32_t spare_most             # frames for data that were free at most
    uint64_t full_seen              # counters.half_open_limit at the last look
    uint64_t full_ns                # when it last rose
    uint64_t resets_seen            # counters.resets_out at the last look,
    uint64_t resets_ns              # and when that was

# The level that the shares ask for, where it is `level` now.
cdef uint32_t overload_asked(uint32_t frames, uint32_t backlog, uint32_t connections, uint32_t level) noexcept nogil
cdef void overload_look(Overload *it, Tcp *tcp) noexcept nogil


cdef inline void overload_turn(Overload *it, Tcp *tcp) noexcept nogil:
    if tcp.now_ns >= it.look_at_ns:
        overload_look(it, tcp)
