"""When a loaded worker looks for packets by the clock, instead of being woken for each (interrupt moderation, in user space).

To be woken costs two switches of context. While many connections are busy, packets arrive a few microseconds apart, and a
worker that keeps up is woken for every one of them. Looking every INTERVAL instead gathers what came from several
connections, here and at the peers, who are sent several segments at once. Where only one or a few wait for answers it
would only delay them.

So both ways are tried in turns, and the clock is kept to where it serves nearly as many connections as before, and
finds several each time it looks. A single flow, however busy, is never delayed: every look finds that one.

    WOKEN --busy, after its term--> TRIAL --as many served, several a look--> CLOCKED --after its term--> WOKEN
      ^                               '----------- otherwise: WOKEN, for twice as long as before -----------'

Half as many looks gather twice as much, where those who wait have not run out of things to do meanwhile. That is tried too, from
CLOCKED on, and kept to where nobody is served less for it.

    CLOCKED --after a window, or its term--> LONG --fewer served--> CLOCKED, for twice as long as before
                                               '--after its term--> WOKEN
"""
from libc.stdint cimport uint32_t, uint64_t

cdef enum ModerationState:
    WOKEN = 0                       # sleep until something wakes the worker
    TRIAL = 1                       # look by the clock, and count
    CLOCKED = 2                     # look by the clock
    LONG = 3                        # look half as often

cdef struct Moderation:
    uint64_t interval_ns            # how long a nap is, or half of it; 0: there are none
    ModerationState state
    uint64_t term_ns                # how long WOKEN lasts at least
    uint64_t term_ends_ns
    uint64_t window_began_ns
    uint32_t served                 # connections attended to in this window
    uint32_t naps                   # naps taken in it, and
    uint32_t found                  # connections that the first turn after each of them attended to
    uint64_t woken_served           # of the last window in WOKEN, and how long it was
    uint64_t woken_ns
    uint64_t clocked_served         # of the last window in CLOCKED, and how long it was
    uint64_t clocked_ns
    uint32_t poor                   # windows in LONG, one after the other, in which fewer were served
    uint64_t long_term_ns           # how long CLOCKED lasts before LONG is tried
    uint64_t long_at_ns             # when it may be tried
    uint64_t naps_all

cdef void moderation_init(Moderation *it, uint64_t interval_ns) noexcept nogil
# A window is over: draw the conclusion. Called by moderation_note.
cdef void moderation_conclude(Moderation *it, uint64_t now_ns) noexcept nogil

cdef enum:
    WINDOW_NS = 5000000


cdef inline void moderation_note(Moderation *it, uint64_t now_ns, uint32_t served, bint napped) noexcept nogil:
    """After each turn: how many connections it attended to; `napped`: it was the first after a nap."""
    it.served += served
    if napped:
        it.naps += 1
        it.found += served
    if now_ns - it.window_began_ns >= WINDOW_NS:
        moderation_conclude(it, now_ns)


cdef inline uint64_t moderation_nap_ns(const Moderation *it) noexcept nogil:
    """How long the next nap is."""
    return it.interval_ns << (it.state == LONG)


cdef inline bint moderation_naps(const Moderation *it) noexcept nogil:
    """Whether the worker ought to look again after a nap, before it sleeps until it is woken."""
    return it.state != WOKEN and it.interval_ns != 0
