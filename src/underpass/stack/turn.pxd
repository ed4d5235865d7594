"""One turn of the loop, and the loop itself: all that happens without the GIL."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.stack.moderation cimport Moderation
from underpass.tcp.tcb cimport Tcp

cdef enum:
    BATCH = 64                      # descriptors taken from the link in one turn
    MAX_WAKE_FDS = 16

cdef enum LoopEnd:
    LOOP_TIMEOUT = 0
    LOOP_STOPPED = 1
    LOOP_WAKE = 2                   # a descriptor is readable: its bit is set in Loop.ready
    LOOP_WANTED = 3                 # the packet path asks for a neighbour
    LOOP_EVENTS = 4                 # Python has something to see
    LOOP_SIGNAL = 5                 # a signal may have come: let Python look

cdef struct Loop:
    uint64_t deadline_ns            # when to return, or NEVER
    uint32_t fd_count
    uint32_t ready
    int[16] fds
    const uint32_t *events          # not zero: return LOOP_EVENTS; may be NULL
    const bint *stopping
    uint64_t next_tick_ns           # the applications' earliest timer
    uint64_t spin_ns                # how long to look for packets before sleeping
    Moderation moderation
    uint64_t sleeps
    uint64_t turns

# Receive, applications, output, transmit, timers, at this time. Returns descriptors received.
cdef uint32_t turn(Tcp *tcp, uint64_t now_ns, uint64_t *next_tick_ns) noexcept nogil
# The earliest time at which a timer, an application or the link has something to do, or NEVER.
cdef uint64_t turn_deadline(const Tcp *tcp, uint64_t next_tick_ns) noexcept nogil
cdef LoopEnd loop_run(Tcp *tcp, Loop *loop) noexcept nogil
cdef uint64_t monotonic_ns() noexcept nogil
