"""The loop: poll while there is work, sleep when there is none."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.ip.error cimport ip_receive_error
from underpass.ip.validate cimport Chunk, ip_receive
from underpass.link.frames cimport NO_FRAME, frame_chunk, frame_unref
from underpass.link.link cimport DESC_CONTINUES, DESC_HANDED, DESC_LOCAL, LINK_RX_PARTIAL, NEVER, Desc
from underpass.stack.moderation cimport moderation_nap_ns, moderation_naps, moderation_note
from underpass.stack.overload cimport Overload, overload_turn
from underpass.stack.tap cimport Tap, tap_arrived, tap_arrives, tap_batch, tap_publish
from underpass.tcp.arrive cimport arrive, arrive_hash
from underpass.tcp.attend cimport attend_all, attend_starved
from underpass.tcp.block cimport block_at_work, block_prefetch
from underpass.tcp.demux cimport demux_prefetch, demux_prefetch_connection, demux_prefetch_queue
from underpass.tcp.errors cimport errors_arrive
from underpass.tcp.expire cimport expire
from underpass.tcp.flows cimport flows_hand_over_error
from underpass.tcp.output cimport output_flush
from underpass.tcp.receive cimport MAX_PARTS, Arrival
from underpass.tcp.tcb cimport MAX_APPS, NO_CONN, Tcp
from underpass.tcp.time_wait cimport time_wait_expire, time_wait_next_ns
from underpass.tcp.trace cimport CAUSE_SEGMENT, CAUSE_TURN, trace_look, trace_timer
from underpass.tcp.wheel cimport WHEEL_NONE, Wheel, wheel_expire, wheel_next_ns
from underpass.wire.icmp cimport IcmpError
from underpass.wire.reason cimport ACCEPTED, IP_PROTOCOL, IPV4_TOTAL_LENGTH, Reason

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *into)
    enum: CLOCK_MONOTONIC

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *mask)
    enum: POLLIN

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, unsigned long value)
    enum: PR_SET_TIMERSLACK

cdef extern from *:
    """
    #define prefetch(address) __builtin_prefetch(address)
    """
    void prefetch(const void *address) noexcept nogil

cdef enum:
    LOOK_ABROAD_NS = 1000000        # under load: how often descriptors besides the link's are looked at
    LOOK_AT_SIGNALS_NS = 50000000   # under load: how often Python may run its signal handlers
    TX_RETRY_NS = 50000             # the device's ring was full: look again soon
    GROUP = 16                      # segments that are looked up together
    AHEAD = 4                       # packets whose headers are fetched before they are parsed


cdef uint64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


# ------------------------------------------------------------------------------------------ one packet

cdef inline void free_frames(Tcp *tcp, const Desc *descs, uint32_t count) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        frame_unref(tcp.pool, descs[i].frame)


cdef inline void lay_out_parts(const Desc *descs, uint32_t count, Arrival *arrival) noexcept nogil:
    """Where the payload lies: what the headers leave of the first chunk, then the later chunks, padding cut off."""
    cdef uint32_t left = arrival.seg.payload_bytes
    cdef uint32_t start = arrival.seg.payload_offset
    cdef uint32_t i, length
    for i in range(count):
        length = descs[i].length - start if descs[i].length > start else 0
        if length > left:
            length = left
        arrival.parts[i].frame = descs[i].frame
        arrival.parts[i].offset = <uint16_t>(descs[i].offset + start)
        arrival.parts[i].length = <uint16_t>length
        left -= length
        start = 0
    arrival.count = count


cdef Reason error_arrives(Tcp *tcp, const uint8_t *packet, uint32_t length, bint handed) noexcept nogil:
    """What XDP gives us that is no segment is ICMP about one, of ours or of another worker."""
    cdef IcmpError error
    cdef Reason reason = ip_receive_error(tcp.network, packet, length, &error)
    if reason != ACCEPTED:
        return reason
    if handed or tcp.flows.slots == NULL or not flows_hand_over_error(tcp, &error, packet, length):
        errors_arrive(tcp, &error)
    return ACCEPTED


cdef inline bint packet_parsed(Tcp *tcp, const Desc *descs, uint32_t count, Arrival *arrival) noexcept nogil:
    """From descriptors to a valid segment and where its payload lies; what is refused is counted and freed."""
    cdef Chunk[MAX_PARTS] rest
    cdef uint32_t i
    cdef Reason reason
    cdef const uint8_t *packet = frame_chunk(tcp.pool, descs[0].frame) + descs[0].offset
    for i in range(1, count):
        rest[i - 1].data = frame_chunk(tcp.pool, descs[i].frame) + descs[i].offset
        rest[i - 1].length = descs[i].length
    reason = ip_receive(tcp.network, packet, descs[0].length, rest, count - 1,
                        (tcp.link.offloads & LINK_RX_PARTIAL) != 0, descs[0].flags & DESC_LOCAL != 0, &arrival.seg)
    if reason == IP_PROTOCOL and count == 1:
        reason = error_arrives(tcp, packet, descs[0].length, descs[0].flags & DESC_HANDED != 0)
        if reason == ACCEPTED:
            free_frames(tcp, descs, count)
            return False
    if reason != ACCEPTED:
        tcp.state.counters.refused[<uint32_t>reason] += 1
        free_frames(tcp, descs, count)
        return False
    tcp.state.counters.partial_checksums += arrival.seg.checksum_partial
    arrival.seg.frame = descs[0].frame
    arrival.seg.offset = descs[0].offset
    arrival.seg.queue = <uint8_t>descs[0].queue
    arrival.handed = descs[0].flags & DESC_HANDED != 0
    lay_out_parts(descs, count, arrival)
    return True


cdef inline uint32_t parts_of_next(const Desc *descs, uint32_t count) noexcept nogil:
    cdef uint32_t parts = 1
    while descs[parts - 1].flags & DESC_CONTINUES and parts < count:
        parts += 1
    return parts


cdef inline uint32_t parse_group(Tcp *tcp, const Desc *descs, uint32_t count, Arrival *arrivals, uint32_t *hashes,
                                 uint32_t *used) noexcept nogil:
    """Parse up to GROUP packets; returns how many were valid, and how many descriptors they took."""
    cdef uint32_t i = 0
    cdef uint32_t valid = 0
    cdef uint32_t parts
    while i < count and valid < GROUP:
        if i + AHEAD < count:
            prefetch(frame_chunk(tcp.pool, descs[i + AHEAD].frame) + descs[i + AHEAD].offset)
        parts = parts_of_next(descs + i, count - i)
        if parts > MAX_PARTS:
            tcp.state.counters.refused[<uint32_t>IPV4_TOTAL_LENGTH] += 1
            free_frames(tcp, descs + i, parts)
        elif packet_parsed(tcp, descs + i, parts, &arrivals[valid]):
            hashes[valid] = arrive_hash(tcp, &arrivals[valid].seg)
            demux_prefetch(tcp, hashes[valid])
            valid += 1
        i += parts
    used[0] = i
    return valid


cdef inline void segment_arrives(Tcp *tcp, Arrival *arrival, uint32_t hash) noexcept nogil:
    cdef uint32_t i
    arrive(tcp, arrival, hash)
    for i in range(arrival.count):
        if arrival.parts[i].frame != NO_FRAME:
            frame_unref(tcp.pool, arrival.parts[i].frame)


cdef void batch_arrives(Tcp *tcp, const Desc *descs, uint32_t count) noexcept nogil:
    """A group at a time: what one segment needs comes from memory while the next ones are looked up."""
    cdef Arrival[GROUP] arrivals
    cdef uint32_t[GROUP] hashes
    cdef uint32_t done = 0
    cdef uint32_t used = 0
    cdef uint32_t valid, i
    while done < count:
        valid = parse_group(tcp, descs + done, count - done, arrivals, hashes, &used)
        done += used
        for i in range(valid):
            demux_prefetch_connection(tcp, hashes[i])
        for i in range(valid):
            demux_prefetch_queue(tcp, hashes[i])
        for i in range(valid):
            segment_arrives(tcp, &arrivals[i], hashes[i])


cdef uint32_t look_before(Tcp *tcp, const Desc *descs, uint32_t count) noexcept nogil:
    """Somebody looks: a packet at a time, so that they learn what became of each. Returns its descriptors."""
    cdef uint32_t run = parts_of_next(descs, count)
    if tcp.tap != NULL:
        tap_arrives(<Tap *>tcp.tap, tcp, descs, run)
    return run


cdef void look_after(Tcp *tcp) noexcept nogil:
    if tcp.tap != NULL:
        tap_arrived(<Tap *>tcp.tap, tcp)
    if tcp.trace != NULL:
        trace_look(tcp, CAUSE_SEGMENT)


cdef inline void batch_taken_in(Tcp *tcp, const Desc *descs, uint32_t count) noexcept nogil:
    cdef bint looked_at = tcp.tap != NULL or tcp.trace != NULL
    cdef uint32_t run = count
    if tcp.tap != NULL:
        tap_batch(<Tap *>tcp.tap, tcp)
    while count:
        if looked_at:
            run = look_before(tcp, descs, count)
        batch_arrives(tcp, descs, run)
        if looked_at:
            look_after(tcp)
        descs += run
        count -= run
    if tcp.tap != NULL:
        tap_publish(<Tap *>tcp.tap)


# ------------------------------------------------------------------------------------------ one turn

cdef inline uint64_t run_ticks(Tcp *tcp) noexcept nogil:
    """The applications' own timers; returns when the next one is due."""
    cdef uint64_t earliest = NEVER
    cdef uint64_t at
    cdef uint32_t i
    for i in range(MAX_APPS):
        if tcp.apps[i].tick != NULL:
            at = tcp.apps[i].tick(tcp, tcp.apps[i].self)
            if at < earliest:
                earliest = at
    return earliest


cdef inline void timers_fire(Tcp *tcp) noexcept nogil:
    """While one connection's deadlines are seen to, the next connection comes from memory."""
    cdef Wheel *wheel = <Wheel *>tcp.wheel
    cdef uint32_t conn = wheel_expire(wheel, tcp.timers, tcp.now_ns)
    while conn != NO_CONN:
        if wheel.due != WHEEL_NONE:
            block_prefetch(tcp, wheel.due)
        block_at_work(tcp, conn)
        if tcp.trace != NULL:
            trace_timer(tcp, conn)
        expire(tcp, conn)
        conn = wheel_expire(wheel, tcp.timers, tcp.now_ns)


cdef uint32_t turn(Tcp *tcp, uint64_t now_ns, uint64_t *next_tick_ns) noexcept nogil:
    cdef Desc[BATCH] descs
    cdef uint32_t count
    if now_ns < tcp.now_ns:
        now_ns = tcp.now_ns                 # a clock that goes back stands still for us
    tcp.now_ns = now_ns
    tcp.state.epoch += 1
    count = tcp.link.receive(tcp.link, descs, BATCH, now_ns)
    if count:
        batch_taken_in(tcp, descs, count)
    timers_fire(tcp)
    time_wait_expire(tcp)
    next_tick_ns[0] = run_ticks(tcp)
    if attend_all(tcp) and count == 0:
        next_tick_ns[0] = tcp.now_ns        # before sleeping, ask again: callbacks may have set new deadlines
    if tcp.starved:
        attend_starved(tcp)
        attend_all(tcp)
    if tcp.trace != NULL:
        trace_look(tcp, CAUSE_TURN)
    if tcp.overload != NULL:
        overload_turn(<Overload *>tcp.overload, tcp)
    output_flush(tcp)
    tcp.state.epoch += 1
    return count


cdef uint64_t turn_deadline(const Tcp *tcp, uint64_t next_tick_ns) noexcept nogil:
    cdef uint64_t at = wheel_next_ns(<const Wheel *>tcp.wheel)
    cdef uint64_t other = time_wait_next_ns(tcp)
    if other < at:
        at = other
    if next_tick_ns < at:
        at = next_tick_ns
    if tcp.link.deadline != NULL:
        other = tcp.link.deadline(tcp.link)
        if other < at:
            at = other
    if tcp.tx.head != tcp.tx.tail and tcp.now_ns + TX_RETRY_NS < at:
        at = tcp.now_ns + TX_RETRY_NS
    return at


# ------------------------------------------------------------------------------------------ the loop

cdef inline bint look_abroad(Loop *loop, pollfd *fds, uint32_t count, const timespec *timeout) noexcept nogil:
    """Wait on all descriptors; true where one besides the link's is readable, or a signal came (then ready is 0)."""
    cdef int ready = ppoll(fds, count, timeout, NULL)
    cdef uint32_t i
    loop.ready = 0
    if ready < 0:
        return True
    if ready > 0:
        for i in range(loop.fd_count):
            if fds[i].revents:
                loop.ready |= <uint32_t>1 << i
    return loop.ready != 0


cdef inline void until(uint64_t now_ns, uint64_t at_ns, timespec *timeout) noexcept nogil:
    cdef uint64_t wait = at_ns - now_ns if at_ns > now_ns else 0
    timeout.tv_sec = <long>(wait // 1000000000)
    timeout.tv_nsec = <long>(wait % 1000000000)


cdef inline bint takes_nap(Loop *loop) noexcept nogil:
    """Whether the worker sleeps by the clock now, whatever comes; the kernel's timers are to be exact then."""
    if loop.spin_ns != 0 or not moderation_naps(&loop.moderation):
        return False
    if loop.moderation.naps_all == 0:
        prctl(PR_SET_TIMERSLACK, 1)
    loop.moderation.naps_all += 1
    return True


cdef LoopEnd loop_run(Tcp *tcp, Loop *loop) noexcept nogil:
    cdef pollfd[17] fds             # MAX_WAKE_FDS and the link's
    cdef timespec timeout
    cdef uint32_t i, count, attended
    cdef uint64_t now = monotonic_ns()
    cdef uint64_t abroad_at = now
    cdef uint64_t signals_at = now + LOOK_AT_SIGNALS_NS
    cdef uint64_t spin_until = now + loop.spin_ns
    cdef uint64_t at
    cdef bint napping = False           # the last sleep was a nap, and nothing had come after it
    for i in range(loop.fd_count):
        fds[i].fd = loop.fds[i]
        fds[i].events = POLLIN
    fds[loop.fd_count].fd = tcp.link.wait_fd
    fds[loop.fd_count].events = POLLIN
    while True:
        attended = tcp.attended
        count = turn(tcp, now, &loop.next_tick_ns)
        loop.turns += 1
        moderation_note(&loop.moderation, now, tcp.attended - attended, napping)
        if loop.stopping[0]:
            return LOOP_STOPPED
        if loop.events != NULL and loop.events[0]:
            return LOOP_EVENTS
        if tcp.network.wanted_count:
            return LOOP_WANTED
        if now >= loop.deadline_ns:
            return LOOP_TIMEOUT
        if now >= signals_at:
            return LOOP_SIGNAL
        if count:
            spin_until = now + loop.spin_ns
            napping = False
        at = min(turn_deadline(tcp, loop.next_tick_ns), loop.deadline_ns)
        if count == 0 and now >= spin_until and at > now:
            napping = not napping and takes_nap(loop)
            until(now, min(at, now + moderation_nap_ns(&loop.moderation)) if napping else at, &timeout)
            loop.sleeps += 1
            if look_abroad(loop, fds, loop.fd_count + (not napping), &timeout):
                return LOOP_WAKE if loop.ready else LOOP_SIGNAL
            now = monotonic_ns()
            signals_at = now + LOOK_AT_SIGNALS_NS
            spin_until = now + loop.spin_ns
        else:
            now = monotonic_ns()
            if now >= abroad_at and loop.fd_count:
                abroad_at = now + LOOK_ABROAD_NS
                until(now, now, &timeout)
                if look_abroad(loop, fds, loop.fd_count, &timeout):
                    return LOOP_WAKE if loop.ready else LOOP_SIGNAL
