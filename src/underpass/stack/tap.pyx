"""Copying what passes into the tap's spool."""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from underpass.link.frames cimport FramePool, frame_chunk
from underpass.link.link cimport DESC_CONTINUES, Desc, Link
from underpass.link.packet cimport packet_bytes, packet_checksum, packet_parts, packet_wants_checksum
from underpass.link.pcapng cimport (
    PCAPNG_COMMENT_BYTES, PCAPNG_INBOUND, PCAPNG_OUTBOUND, PCAPNG_OVERHEAD, PCAPNG_PACKET_AT, pcapng_begin, pcapng_end,
)
from underpass.link.spool cimport SPOOL_PACKETS, SpoolMemory, spool_at, spool_has_room, spool_publish
from underpass.stack.bpf cimport BpfInsn, bpf_check, bpf_run
from underpass.tcp.tcb cimport Tcp, TcpCounters

from underpass.tcp.counters import TCP_COUNTERS
from underpass.wire.reason import reason_names

cdef enum:
    WHOLE_BYTES = 262144            # the longest packet: a batch of descriptors

# What was given to another worker is seen there.
HANDED_OVER = ("handed_over", "icmp_handed_over")
# Counters of tcp that stand for a segment or an ICMP error that was not taken in, beside those by Reason.
TURNED_AWAY = ("no_listener", "connection_limit", "cookies_refused", "frame_limit", "out_of_window", "paws_refused",
               "ack_refused", "in_window_syn", "in_window_reset", "ooo_limit", "after_close", "unroutable",
               "icmp_no_connection", "icmp_out_of_window", "icmp_too_big_refused")


# ------------------------------------------------------------------------------------------ one packet

cdef void gather_head(FramePool *pool, const Desc *packet, uint32_t parts, uint8_t *into, uint32_t most) noexcept nogil:
    """The packet's first `most` octets."""
    cdef uint32_t i, octets
    for i in range(parts):
        octets = min(<uint32_t>packet[i].length, most)
        memcpy(into, frame_chunk(pool, packet[i].frame) + packet[i].offset, octets)
        into += octets
        most -= octets


cdef uint32_t wanted_bytes(Tap *tap, const Desc *packet, uint32_t parts, uint32_t octets) noexcept nogil:
    """How much of the packet is asked for; 0 where the program refuses it."""
    cdef FramePool *pool = tap.below.pool
    cdef const uint8_t *data = frame_chunk(pool, packet.frame) + packet.offset
    cdef uint32_t there = octets
    cdef uint32_t most = tap.snaplen
    if tap.program != NULL:
        if parts > 1:
            there = min(octets, <uint32_t>WHOLE_BYTES)
            gather_head(pool, packet, parts, tap.whole, there)
            data = tap.whole
        most = min(most, bpf_run(tap.program, data, octets, there))
    return min(octets, most)


cdef TapFound written(Tap *tap, const Desc *packet, uint32_t parts, uint64_t now_ns) noexcept nogil:
    """Behind the last whole block; a checksum left to the device is filled in, if it is among the octets asked for."""
    cdef uint32_t octets = packet_bytes(packet, parts)
    cdef uint32_t captured = wanted_bytes(tap, packet, parts, octets)
    cdef uint8_t *block
    cdef uint16_t checksum
    tap.counts.passed += 1
    if captured == 0:
        return TAP_PASS
    if not spool_has_room(&tap.spool, tap.counts.filled, captured + PCAPNG_OVERHEAD):
        return TAP_NO_ROOM
    block = spool_at(&tap.spool, tap.counts.filled)
    pcapng_begin(block, tap.interface, now_ns + tap.epoch_ns, captured, octets)
    gather_head(tap.below.pool, packet, parts, block + PCAPNG_PACKET_AT, captured)
    if packet_wants_checksum(packet, captured):
        checksum = packet_checksum(tap.below.pool, packet, parts)
        memcpy(block + PCAPNG_PACKET_AT + packet.csum_start + packet.csum_offset, &checksum, 2)
    tap.captured = captured
    return TAP_WRITTEN


cdef void keep(Tap *tap, uint32_t direction, const char *comment, uint32_t comment_bytes) noexcept nogil:
    """Complete the block that was written."""
    if tap.found == TAP_PASS:
        return
    tap.counts.matched += 1
    if tap.found == TAP_WRITTEN:
        tap.counts.filled += pcapng_end(spool_at(&tap.spool, tap.counts.filled), tap.captured, direction, comment, comment_bytes)
    else:
        tap.counts.dropped += 1


cdef void tap_publish(Tap *tap) noexcept nogil:
    tap.spool.shared.passed = tap.counts.passed
    tap.spool.shared.matched = tap.counts.matched
    tap.spool.shared.dropped = tap.counts.dropped
    spool_publish(&tap.spool, tap.counts.filled)


# ------------------------------------------------------------------------------------------ received

cdef void tap_batch(Tap *tap, const Tcp *tcp) noexcept nogil:
    cdef const uint64_t *counters = <const uint64_t *>&tcp.state.counters
    cdef uint32_t i
    for i in range(tap.whys):
        tap.why[i].before = counters[tap.why[i].counter]


cdef void tap_arrives(Tap *tap, const Tcp *tcp, const Desc *packet, uint32_t parts) noexcept nogil:
    tap.found = written(tap, packet, parts, tcp.now_ns)


cdef const TapWhy *why_not_taken(Tap *tap, const Tcp *tcp) noexcept nogil:
    """Every refusal has a counter: the one that has moved says why. NULL: the packet was accepted."""
    cdef const uint64_t *counters = <const uint64_t *>&tcp.state.counters
    cdef const TapWhy *found = NULL
    cdef uint32_t i
    for i in range(tap.whys):
        if counters[tap.why[i].counter] != tap.why[i].before:
            tap.why[i].before = counters[tap.why[i].counter]
            found = &tap.why[i]
    return found


cdef void tap_arrived(Tap *tap, const Tcp *tcp) noexcept nogil:
    cdef const TapWhy *why = why_not_taken(tap, tcp)
    if why != NULL and why.bytes == 0:
        return                  # handed over
    if why != NULL:
        keep(tap, PCAPNG_INBOUND, why.comment, why.bytes)
    elif not tap.refused_only:
        keep(tap, PCAPNG_INBOUND, NULL, 0)


# ------------------------------------------------------------------------------------------ sent

cdef uint32_t write_run(Tap *tap, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    """Up to TAP_RUN packets, with the counts after each; returns how many descriptors they are."""
    cdef uint32_t done = 0
    cdef uint32_t packet = 0
    cdef uint32_t parts
    while done < count and packet < TAP_RUN:
        parts = packet_parts(packets + done, count - done)
        if parts == 0:
            return count            # the end of a packet is missing: the link will leave it
        tap.found = written(tap, packets + done, parts, now_ns)
        keep(tap, PCAPNG_OUTBOUND, NULL, 0)
        tap.after[packet] = tap.counts
        packet += 1
        done += parts
    return done


cdef void keep_taken(Tap *tap, const TapCounts *before, const Desc *packets, uint32_t taken) noexcept nogil:
    """Go back to the last packet that the link took."""
    cdef uint32_t i
    cdef uint32_t packet = 0
    for i in range(taken):
        if not packets[i].flags & DESC_CONTINUES:
            packet += 1
    tap.counts = tap.after[packet - 1] if packet else before[0]


cdef uint32_t tap_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    """Copied before they are handed over: afterwards the frames are the device's, or already someone else's."""
    cdef Tap *tap = <Tap *>link.self
    cdef TapCounts before
    cdef uint32_t run, taken
    cdef uint32_t done = 0
    if tap.refused_only:
        return tap.below.transmit(tap.below, packets, count, now_ns)
    while done < count:
        before = tap.counts
        run = write_run(tap, packets + done, count - done, now_ns)
        taken = tap.below.transmit(tap.below, packets + done, run, now_ns)
        keep_taken(tap, &before, packets + done, taken)
        done += taken
        if taken < run:
            break
    tap_publish(tap)
    return done


# ------------------------------------------------------------------------------------------ the rest of a link

cdef uint32_t tap_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef Tap *tap = <Tap *>link.self
    return tap.below.receive(tap.below, into, room, now_ns)


cdef void tap_wake(Link *link) noexcept nogil:
    cdef Tap *tap = <Tap *>link.self
    tap.below.wake(tap.below)


cdef uint64_t tap_deadline(Link *link) noexcept nogil:
    cdef Tap *tap = <Tap *>link.self
    return tap.below.deadline(tap.below)


# ------------------------------------------------------------------------------------------ the memory

@cython.no_gc
cdef class PacketTap:
    """A ring of `ring_bytes` (a power of two) for the first `snaplen` octets of each packet that `program` accepts.

    `program` is classic BPF (struct sock_filter, one after the other), b"" for every packet. Raises ValueError for
    one that may not be run and for what is out of range, OSError where there is no memory.
    """

    def __cinit__(self, bytes program not None, *, uint32_t snaplen, bint refused_only, uint32_t interface,
                  uint64_t epoch_ns, uint64_t ring_bytes):
        memset(&self.tap, 0, sizeof(Tap))
        if not 1 <= snaplen <= TAP_SNAPLEN_MOST:
            raise ValueError(f"a capture takes 1 to {TAP_SNAPLEN_MOST} octets of a packet, not {snaplen}")
        if program:
            self.set_program(program)
        self.tap.snaplen, self.tap.interface, self.tap.epoch_ns = snaplen, interface, epoch_ns
        self.tap.refused_only = refused_only
        self.tap.whole = <uint8_t *>malloc(WHOLE_BYTES)
        if self.tap.whole == NULL:
            raise MemoryError("a capture's buffer")
        self.list_reasons()
        self.memory = SpoolMemory(b"underpass-tap", "a capture", SPOOL_PACKETS, ring_bytes)
        self.tap.spool = self.memory.spool

    cdef int set_program(self, bytes program) except -1:
        cdef const BpfInsn *first = <const BpfInsn *><const char *>program
        if len(program) % sizeof(BpfInsn) or not bpf_check(first, <uint32_t>min(len(program) // sizeof(BpfInsn), 65535)):
            raise ValueError("the filter is no classic BPF program that may be run")
        self.program = program
        self.tap.program = first
        return 0

    cdef int list_reasons(self) except -1:
        """All fields of TcpCounters are numbers of 64 bits: first the refusals by Reason, then those by name."""
        first = sizeof(TcpCounters) // sizeof(uint64_t) - len(TCP_COUNTERS)
        places = list(enumerate(reason_names()))[1:]
        places += [(first + TCP_COUNTERS.index(name), name) for name in (*TURNED_AWAY, *HANDED_OVER)]
        if len(places) > TAP_WHYS:
            raise ImportError(f"{len(places)} reasons, more than a tap has room for")
        for i, (counter, name) in enumerate(places):
            comment = b"" if name in HANDED_OVER else f"refused: {name}".encode()[:PCAPNG_COMMENT_BYTES]
            self.tap.why[<int>i].counter = counter
            self.tap.why[<int>i].bytes = len(comment)
            memcpy(self.tap.why[<int>i].comment, <const char *>comment, len(comment))
        self.tap.whys = len(places)
        return 0

    cdef void attach(self, Tcp *tcp) noexcept:
        self.tap.below = tcp.link
        self.tap.link = tcp.link[0]
        self.tap.link.self = &self.tap
        self.tap.link.receive = tap_receive
        self.tap.link.transmit = tap_transmit
        self.tap.link.wake = tap_wake
        if tcp.link.deadline != NULL:
            self.tap.link.deadline = tap_deadline
        tcp.link = &self.tap.link
        tcp.tap = &self.tap

    cdef void detach(self, Tcp *tcp) noexcept:
        tcp.link = self.tap.below
        tcp.tap = NULL

    def __dealloc__(self):
        free(self.tap.whole)
