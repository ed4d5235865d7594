"""Choosing between being woken and looking by the clock."""
from libc.stdint cimport uint64_t
from libc.string cimport memset

cdef enum:
    BUSY = 32                       # connections served in a window, below which there is nothing to gain
    SEVERAL = 2                     # connections that a look must find on average
    KEPT_TENTHS = 8                 # of the connections that were served before: fewer are lost to the delay
    TRIAL_NS = 2000000              # short: whoever waits for an answer meanwhile waits longer
    TERM_NS = 160000000
    TERM_MAX_NS = 2560000000
    CLOCKED_NS = 250000000
    LONG_KEPT_TENTHS = 9            # of the connections served with shorter naps
    POOR_WINDOWS = 2                # with fewer, one after the other: one alone may be chance


cdef void moderation_init(Moderation *it, uint64_t interval_ns) noexcept nogil:
    memset(it, 0, sizeof(Moderation))
    it.interval_ns = interval_ns
    it.term_ns = it.long_term_ns = TERM_NS


cdef inline void enter(Moderation *it, ModerationState state, uint64_t now_ns, uint64_t term_ns) noexcept nogil:
    it.state = state
    it.term_ends_ns = now_ns + term_ns


cdef inline void wake_again(Moderation *it, uint64_t now_ns) noexcept nogil:
    """The clock is not worth it: do not try again soon."""
    enter(it, WOKEN, now_ns, it.term_ns)
    it.term_ns = min(2 * it.term_ns, <uint64_t>TERM_MAX_NS)


cdef inline bint finds_several(const Moderation *it, uint64_t elapsed_ns) noexcept nogil:
    return it.found >= SEVERAL * it.naps and it.served * <uint64_t>WINDOW_NS >= BUSY * elapsed_ns


cdef inline bint serves_as_many(const Moderation *it, uint64_t elapsed_ns) noexcept nogil:
    return 10 * it.served * it.woken_ns >= KEPT_TENTHS * it.woken_served * elapsed_ns


cdef inline bint long_naps_cost_nobody(const Moderation *it, uint64_t elapsed_ns) noexcept nogil:
    return 10 * it.served * it.clocked_ns >= LONG_KEPT_TENTHS * it.clocked_served * elapsed_ns


cdef inline void conclude_long(Moderation *it, uint64_t now_ns, uint64_t elapsed_ns) noexcept nogil:
    it.poor = 0 if long_naps_cost_nobody(it, elapsed_ns) else it.poor + 1
    if it.poor >= POOR_WINDOWS:
        it.long_at_ns = now_ns + it.long_term_ns
        it.long_term_ns = min(2 * it.long_term_ns, <uint64_t>TERM_MAX_NS)
        it.state = CLOCKED
    elif now_ns >= it.term_ends_ns:
        it.long_term_ns = TERM_NS
        enter(it, WOKEN, now_ns, 0)


cdef inline void conclude_clocked(Moderation *it, uint64_t now_ns, uint64_t elapsed_ns) noexcept nogil:
    it.clocked_served, it.clocked_ns = it.served, elapsed_ns
    if now_ns >= it.term_ends_ns:
        enter(it, WOKEN, now_ns, 0)
    elif now_ns >= it.long_at_ns:
        it.state = LONG
        it.poor = 0


cdef void moderation_conclude(Moderation *it, uint64_t now_ns) noexcept nogil:
    cdef uint64_t elapsed_ns = now_ns - it.window_began_ns
    if it.state == WOKEN:
        it.woken_served, it.woken_ns = it.served, elapsed_ns
        if it.served >= BUSY and elapsed_ns < 2 * WINDOW_NS and now_ns >= it.term_ends_ns:
            enter(it, TRIAL, now_ns, 0)
    elif it.state == TRIAL:
        elapsed_ns = now_ns - it.term_ends_ns
        if finds_several(it, elapsed_ns) and serves_as_many(it, elapsed_ns):
            it.term_ns = TERM_NS
            enter(it, CLOCKED, now_ns, CLOCKED_NS)
        else:
            wake_again(it, now_ns)
    elif not finds_several(it, elapsed_ns):
        wake_again(it, now_ns)
    elif it.state == LONG:
        conclude_long(it, now_ns, elapsed_ns)
    else:
        conclude_clocked(it, now_ns, elapsed_ns)
    # A trial's window ends early; its term ends where it begins.
    it.window_began_ns = now_ns - (WINDOW_NS - TRIAL_NS) if it.state == TRIAL else now_ns
    it.served = it.naps = it.found = 0
