"""The worker's overload, and what it has the XDP program refuse."""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from underpass.link.gate cimport gate_tell
from underpass.tcp.sources cimport sources_follow
from underpass.tcp.tcb cimport MAX_LISTENERS, Listener, Tcp, TcpState

cdef enum:
    ALL = 256
    CALM_NS = 100000000             # how long nothing asks for a level before it falls
    HOLD_NS = 200000000             # how long a level holds that is not confirmed
    FULL_NS = 1000000000            # how long no room for half-open connections is remembered
    SMOOTHING = 3                   # a look counts an eighth
    STRANGERS = 20                  # resets from one look to the next; at the SYN rate's default they ask for cookies, too

# At which share a signal asks for level 1, 2, 3; and where one that is in force still does.
cdef uint32_t[3] FRAMES = [224, 240, 248]
cdef uint32_t[3] FRAMES_STILL = [208, 228, 240]
cdef uint32_t[3] BACKLOG = [128, 192, 240]
cdef uint32_t[3] BACKLOG_STILL = [64, 128, 192]
cdef uint32_t[3] CONNECTIONS = [224, 248, 256]
cdef uint32_t[3] CONNECTIONS_STILL = [208, 240, 252]


cdef inline uint32_t asked_by(uint32_t share, const uint32_t *rises, const uint32_t *stays, uint32_t level) noexcept nogil:
    cdef uint32_t asked = 0
    while asked < OVERLOAD_LEVELS and share >= (stays[asked] if asked < level else rises[asked]):
        asked += 1
    return asked


cdef uint32_t overload_asked(uint32_t frames, uint32_t backlog, uint32_t connections, uint32_t level) noexcept nogil:
    return max(asked_by(frames, FRAMES, FRAMES_STILL, level), asked_by(backlog, BACKLOG, BACKLOG_STILL, level),
               asked_by(connections, CONNECTIONS, CONNECTIONS_STILL, level))


cdef inline uint32_t share_of(uint64_t part, uint64_t whole) noexcept nogil:
    return <uint32_t>min(part * ALL // whole, <uint64_t>ALL) if whole else ALL


cdef inline uint32_t frames_taken(Overload *it, const Tcp *tcp) noexcept nogil:
    """Of those that data may use; what the device has to receive into is not."""
    cdef int32_t spare = <int32_t>(tcp.pool.state.free - tcp.pool.state.reserve)
    cdef uint32_t free = <uint32_t>max(spare, 0)
    it.spare_most = max(it.spare_most, free)
    return ALL - share_of(free, it.spare_most) if it.spare_most else ALL


cdef inline uint32_t backlog_of(Overload *it, const Tcp *tcp) noexcept nogil:
    cdef uint32_t waiting = tcp.link.waiting(tcp.link) if tcp.link.waiting != NULL else 0
    it.backlog -= it.backlog >> SMOOTHING
    it.backlog += waiting * (ALL >> SMOOTHING)
    return it.backlog // ALL


cdef uint32_t half_open_share(Overload *it, const Tcp *tcp) noexcept nogil:
    """Of the room of all listeners, or of one's own: whichever is fuller. All, where the engine just had none left."""
    cdef const TcpState *state = tcp.state
    cdef const Listener *listener = &state.listeners[0]
    cdef uint32_t share = share_of(state.half_open, state.limits.half_open) if state.half_open else 0
    cdef uint32_t i = 0
    if state.counters.half_open_limit != it.full_seen:
        it.full_seen = state.counters.half_open_limit
        it.full_ns = tcp.now_ns
    if it.full_ns and tcp.now_ns - it.full_ns < FULL_NS:
        return ALL
    while state.half_open and i < MAX_LISTENERS and listener.port:      # places are taken from the first on
        if listener.half_open:
            share = max(share, share_of(listener.half_open, listener.backlog))
        i += 1
        listener += 1
    return share


cdef inline bint strangers_are_many(Overload *it, const Tcp *tcp) noexcept nogil:
    """Each gets a reset of ours: that costs more than to look it up in the driver."""
    cdef uint64_t sent = tcp.state.counters.resets_out - it.resets_seen
    cdef uint64_t looks = max((tcp.now_ns - it.resets_ns) // OVERLOAD_LOOK_NS, <uint64_t>1)
    it.resets_seen = tcp.state.counters.resets_out
    it.resets_ns = tcp.now_ns
    return sent >= STRANGERS * looks


cdef inline void raise_level(Overload *it, Tcp *tcp, uint32_t asked, uint32_t frames, uint32_t backlog,
                             bint strangers) noexcept nogil:
    """Count what asked for most."""
    if strangers and asked == 1:
        tcp.state.counters.overload_strangers += 1
    elif asked_by(frames, FRAMES, FRAMES_STILL, it.level) == asked:
        tcp.state.counters.overload_frames += 1
    elif asked_by(backlog, BACKLOG, BACKLOG_STILL, it.level) == asked:
        tcp.state.counters.overload_backlog += 1
    else:
        tcp.state.counters.overload_connections += 1
    it.level = asked


cdef void judge(Overload *it, Tcp *tcp) noexcept nogil:
    cdef uint32_t frames = frames_taken(it, tcp)
    cdef uint32_t backlog = backlog_of(it, tcp)
    cdef bint strangers = strangers_are_many(it, tcp)
    cdef uint32_t asked
    if it.level and tcp.now_ns >= it.until_ns:
        it.level = 0                            # it has ended: the worker slept
    asked = overload_asked(frames, backlog, share_of(tcp.state.tcb_used, tcp.state.limits.connections), it.level)
    if strangers:
        asked = max(asked, <uint32_t>1)
    if asked > it.level:
        raise_level(it, tcp, asked, frames, backlog, strangers)
    if asked >= it.level:
        it.asked_ns = tcp.now_ns
    elif tcp.now_ns - it.asked_ns >= CALM_NS:
        it.level -= 1
        it.asked_ns = tcp.now_ns


cdef void overload_look(Overload *it, Tcp *tcp) noexcept nogil:
    cdef uint32_t half_open = half_open_share(it, tcp)
    cdef uint32_t before = it.level
    it.look_at_ns = tcp.now_ns + OVERLOAD_LOOK_NS
    sources_follow(tcp)
    if it.refuses:
        judge(it, tcp)
    if it.level or before != it.level or half_open != it.half_open:
        it.until_ns = tcp.now_ns + HOLD_NS
        it.half_open = half_open
        gate_tell(it.gate, it.level, half_open, it.until_ns)
