"""Making an arena whole again."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from underpass.ip.network cimport NO_NEIGHBOUR, network_hold, network_rebuild
from underpass.link.frames cimport FRAME_SACKED, NO_FRAME, Frame, frames_rebuild
from underpass.tcp.block cimport block_at_work, block_free, block_touch
from underpass.tcp.demux cimport (
    DEMUX_NONE, TIME_WAIT_TAG, demux_clear, demux_find, demux_hash, demux_insert,
)
from underpass.tcp.ending cimport ending_abort
from underpass.tcp.output cimport output_control
from underpass.tcp.rare cimport WATCHED, rare_of
from underpass.tcp.sound cimport (
    sound_fast_open, sound_fields, sound_numbers, sound_receiving, sound_sending, sound_waits_for_data,
)
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ANNOUNCED, CONN_COUNTED_HALF_OPEN, CONN_FIN_RECEIVED, CONN_ORPHAN, CONN_RARE, CONN_STARVED, CONN_TIMESTAMPS,
    CONN_TOUCHED, CONN_WANTS_ROOM, ESTABLISHED, EVENT_READABLE, EVENT_WRITABLE, LISTENER_BUCKETS, MAX_APPS, MAX_LISTENERS, NO_CONN,
    NO_LISTENER, TIME_WAIT, Listener, Tcb, TcbCold, Tcp, TcpState, TimeWait, TimerNode,
)
from underpass.tcp.time_wait cimport time_wait_rebuild
from underpass.tcp.timers cimport timers_arm, timers_restart_retransmit
from underpass.tcp.traits cimport TRAIT_FAST_OPEN_PENDING
from underpass.tcp.wheel cimport Wheel, wheel_init
from underpass.wire.segment cimport ACK, RST

cdef str AT_WORK = "it was at work when its process died"
cdef str FORGOTTEN = "nobody knows what it was to the application"
cdef str TWICE = "another one has the same addresses and ports"


# ------------------------------------------------------------------------------------------ what there is

cdef const char *trouble_with(Tcp *tcp, uint32_t conn, uint32_t *claims) noexcept nogil:
    """The rule that a connection breaks, or NULL. Its frames are claimed as far as they were looked at."""
    cdef uint64_t frames = 0
    cdef const char *wrong = sound_fields(tcp, conn)
    if wrong == NULL:
        wrong = sound_numbers(&tcp.tcbs[conn])
    if wrong == NULL:
        wrong = sound_receiving(tcp, conn, claims, &frames)
    if wrong == NULL:
        wrong = sound_sending(tcp, conn, claims, &frames)
    if wrong == NULL:
        wrong = sound_fast_open(tcp, conn)
    return wrong


cdef object why_not(Tcp *tcp, uint32_t conn, uint32_t at_work, uint8_t forgetful, uint32_t *claims):
    """Why a connection cannot go on, or None."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const char *wrong
    if conn == at_work:
        return AT_WORK
    if tcb.app == forgetful:
        return FORGOTTEN
    wrong = trouble_with(tcp, conn, claims)
    if wrong != NULL:
        return f"this is no longer so: {wrong.decode()}"
    if demux_find(tcp, demux_hash(tcp, &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port),
                  &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port) != DEMUX_NONE:
        return TWICE
    return None


cdef list time_waits_in_use(const Tcp *tcp, uint32_t slots):
    """Those that the demultiplexer's table leads to, the first to expire first. It may name one twice."""
    cdef uint32_t slot, entry
    found = set()
    for slot in range(slots):
        if tcp.demux[slot].value & TIME_WAIT_TAG:
            entry = (tcp.demux[slot].value & ~<uint32_t>TIME_WAIT_TAG) - 1
            if entry < tcp.state.time_wait_fresh and tcp.time_waits[entry].hash == tcp.demux[slot].hash:
                found.add((tcp.time_waits[entry].expires_ns, entry))
    return [entry for _, entry in sorted(found)]


# ------------------------------------------------------------------------------------------ what follows from it

cdef void begin_anew(Tcp *tcp, uint32_t slots) noexcept nogil:
    """As if there were no connection."""
    cdef TcpState *state = tcp.state
    cdef Listener *it
    cdef uint32_t i
    state.demux_mask = slots - 1
    demux_clear(tcp)
    wheel_init(<Wheel *>tcp.wheel, tcp.now_ns)
    memset(tcp.timers, 0, state.tcb_fresh * sizeof(TimerNode))
    network_rebuild(tcp.network)
    state.tcb_free = NO_CONN
    state.tcb_used = state.half_open = state.orphans = 0
    for i in range(LISTENER_BUCKETS):
        state.listener_buckets[i] = NO_LISTENER
    for i in range(MAX_LISTENERS):
        it = &state.listeners[i]
        it.half_open = it.fast_open_pending = 0
        it.used = it.used and it.app < MAX_APPS
        if it.used:
            it.next = state.listener_buckets[it.port % LISTENER_BUCKETS]
            state.listener_buckets[it.port % LISTENER_BUCKETS] = i


cdef int keep_time_waits(Tcp *tcp, list entries) except -1:
    cdef uint32_t *numbers = <uint32_t *>malloc((len(entries) + 1) * sizeof(uint32_t))
    cdef TimeWait *it
    cdef uint32_t i
    if numbers == NULL:
        raise MemoryError("TIME_WAIT entries")
    for i in range(<uint32_t>len(entries)):
        numbers[i] = entries[i]
        it = &tcp.time_waits[numbers[i]]
        it.hash = demux_hash(tcp, &it.local, it.local_port, &it.remote, it.remote_port)
        demux_insert(tcp, it.hash, TIME_WAIT_TAG + 1 + numbers[i])
    time_wait_rebuild(tcp, numbers, <uint32_t>len(entries))
    free(numbers)
    return 0


cdef void count_half_open(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t listener = tcp.colds[conn].listener
    tcp.state.half_open += 1
    if listener != NO_LISTENER:
        tcp.state.listeners[listener].half_open += 1
        tcp.state.listeners[listener].fast_open_pending += (tcb.traits & TRAIT_FAST_OPEN_PENDING) != 0


cdef void mend_hints(Tcp *tcp, uint32_t conn) noexcept nogil:
    """What only saves a search, and leads astray where it is wrong."""
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t frame = tcp.tcbs[conn].snd_head
    tcp.colds[conn].sack_hint = NO_FRAME
    while frame != NO_FRAME:
        if frames[frame].flags & FRAME_SACKED:
            frames[frame].sack_run = frame
        frame = frames[frame].next
    frame = tcp.tcbs[conn].ooo_head
    while frame != NO_FRAME:
        rare_of(tcp, conn).ooo_tail = frame
        frame = frames[frame].next
    if tcp.tcbs[conn].flags & CONN_RARE:
        rare_of(tcp, conn).watched %= WATCHED


cdef void tell_again(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Events that were told may come once more; none may be missing."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_ANNOUNCED and (tcb.rcv_bytes or tcb.flags & CONN_FIN_RECEIVED):
        tcb.events |= EVENT_READABLE
    if tcb.flags & CONN_WANTS_ROOM:
        tcb.events |= EVENT_WRITABLE
    block_touch(tcp, conn)


cdef void keep(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcp.state.tcb_used += 1
    tcb.flags &= ~<uint32_t>(CONN_TOUCHED | CONN_STARVED)
    tcb.hash = demux_hash(tcp, &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port)
    demux_insert(tcp, tcb.hash, conn + 1)
    if tcb.neighbour != NO_NEIGHBOUR:
        network_hold(tcp.network, tcb.neighbour)
    if tcb.flags & CONN_COUNTED_HALF_OPEN:
        count_half_open(tcp, conn)
    tcp.state.orphans += (tcb.flags & CONN_ORPHAN) != 0
    mend_hints(tcp, conn)
    if tcb.snd_una != tcb.snd_nxt and tcb.retransmit_at == 0 and not sound_waits_for_data(tcb):
        timers_restart_retransmit(tcp, conn)
    timers_arm(tcp, conn)
    tell_again(tcp, conn)


# ------------------------------------------------------------------------------------------ what cannot go on

cdef void reset(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Tell the peer, as far as is known who that is. Nothing else of the block is believed. In a handshake it will ask
    again, and be answered.
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    tcb.flags &= CONN_TIMESTAMPS
    tcb.traits = 0
    cold.sack_count = 0
    if tcb.state >= ESTABLISHED and sound_fields(tcp, conn) == NULL:
        output_control(tcp, conn, tcb.snd_nxt, RST | ACK)
        tcp.state.counters.resets_out += 1


cdef void give_up(Tcp *tcp, uint32_t conn) noexcept nogil:
    tcp.state.tcb_used += 1
    block_free(tcp, conn)


cdef void rebuild_abort(Tcp *tcp, uint32_t conn) noexcept nogil:
    tcp.state.counters.recovery_kept -= 1
    tcp.state.counters.recovery_aborted += 1
    ending_abort(tcp, conn)


# ------------------------------------------------------------------------------------------ all of it

cdef dict sort_out(Tcp *tcp, uint32_t at_work, uint8_t forgetful, uint32_t *claims, list aborted):
    """Keep what can go on. Returns why others cannot, and how many; they are in `aborted`."""
    cdef uint32_t conn
    reasons = {}
    for conn in range(tcp.state.tcb_fresh):
        if tcp.tcbs[conn].state == CLOSED or tcp.tcbs[conn].state == TIME_WAIT:
            tcp.tcbs[conn].state = CLOSED
            give_up(tcp, conn)
            continue
        why = why_not(tcp, conn, at_work, forgetful, claims)
        if why is None:
            keep(tcp, conn)
            tcp.state.counters.recovery_kept += 1
        else:
            aborted.append(conn)
            reasons[why] = reasons.get(why, 0) + 1
            tcp.state.counters.recovery_aborted += 1
    return reasons


cdef int free_frames(Tcp *tcp, uint32_t *claims, list aborted) except -1:
    """All but those of connections that go on, and those that the device has."""
    cdef uint32_t frame
    gone = set(aborted)
    for frame in range(tcp.pool.state.count):
        if claims[frame] != NO_CONN and claims[frame] in gone:
            claims[frame] = NO_FRAME
    frames_rebuild(tcp.pool, claims)
    return 0


cdef tuple rebuild(Tcp *tcp, uint32_t slots, uint8_t forgetful):
    cdef TcpState *state = tcp.state
    cdef uint32_t at_work = state.at_work
    cdef uint32_t *claims
    cdef uint64_t kept = state.counters.recovery_kept
    if state.tcb_fresh > state.limits.connections or state.time_wait_fresh > state.limits.time_waits:
        raise ValueError(f"{state.tcb_fresh} connection blocks and {state.time_wait_fresh} TIME_WAIT entries are more"
                         " than the arena has")
    claims = <uint32_t *>malloc(tcp.pool.state.count * sizeof(uint32_t))
    if claims == NULL:
        raise MemoryError("frames of an arena")
    memset(claims, 0xFF, tcp.pool.state.count * sizeof(uint32_t))
    state.counters.recoveries += 1
    waits = time_waits_in_use(tcp, slots)
    begin_anew(tcp, slots)
    keep_time_waits(tcp, waits)
    aborted = []
    reasons = sort_out(tcp, at_work, forgetful, claims, aborted)
    free_frames(tcp, claims, aborted)
    free(claims)
    for conn in aborted:
        reset(tcp, conn)
        tcp.tcbs[<uint32_t>conn].state = CLOSED
        give_up(tcp, conn)
    block_at_work(tcp, NO_CONN)
    state.epoch += state.epoch & 1
    return state.counters.recovery_kept - kept, reasons
