"""Receive and transmit over AF_XDP sockets.

A frame that the kernel has is `lent`: one in the fill ring until its packet comes, one that is sent until its
completion comes. It is never lent twice. At close, what the kernel still holds comes back.

Should the process die between any two of its instructions, `xsk_mend` finds out what is lent from what lies in
shared memory: an entry is written, then noted in `put`, and only then is its frame lent; what comes back is no
longer lent, and only then is its entry released.
"""
from libc.errno cimport EAGAIN, EBUSY, ENOBUFS, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME, frame_chunk, frame_take, frame_unref
from underpass.link.link cimport DESC_CHECKSUM, DESC_CONTINUES, DESC_SEGMENTS, NEVER, Desc, Link
from underpass.link.packet cimport (
    packet_bytes, packet_checksum, packet_octet, packet_parts, packet_release, packet_wants_checksum,
)
from underpass.link.packet_socket cimport packet_socket_send
from underpass.link.xsk_ring cimport (
    RELAXED, Ring, load_with, ring_addr, ring_desc, ring_drained, ring_needs_wakeup, ring_peek, ring_release,
    ring_room, ring_submit,
)
from underpass.link.xsk_socket cimport Xsk
from underpass.link.xsk_uapi cimport (
    MSG_DONTWAIT, XDP_PKT_CONTD, XDP_TX_METADATA, XDP_TXMD_FLAGS_CHECKSUM, TxMetadata, recvfrom, sendto,
    xdp_desc,
)

cdef extern from * nogil:
    """
    #define in_order() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    """
    void in_order() noexcept nogil      # for the compiler alone: a process that dies has done all that came before

cdef enum:
    KICKS_WITHOUT_PROGRESS = 4      # then the rest waits for the next call
    RETRY_NS = 200_000              # when that shall be, with nothing else to do


# Receive

cdef uint32_t xsk_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef XskPath *path = <XskPath *>link.self
    cdef uint32_t taken = 0
    cdef uint32_t turn, index
    path.now_ns = now_ns
    for turn in range(path.count):
        index = path.first + turn
        index = index if index < path.count else index - path.count
        taken += serve(path, index, into + taken, room - taken, taken == 0)
    path.first = path.first + 1 if path.first + 1 < path.count else 0
    return taken


cdef uint32_t xsk_waiting(const Link *link) noexcept nogil:
    """The kernel's own index, so that what came since the last receive counts."""
    cdef const XskPath *path = <const XskPath *>link.self
    cdef const Ring *rx
    cdef uint32_t fullest = 0
    cdef uint32_t i
    for i in range(path.count):
        rx = &path.xsks[i].rx
        fullest = max(fullest, (load_with(rx.producer, RELAXED) - rx.consumed) * 256 // (rx.mask + 1))
    return fullest


cdef uint32_t serve(XskPath *path, uint32_t index, Desc *into, uint32_t room,
                    bint whole_batch) noexcept nogil:
    """One socket's part of a receive: what was sent comes back, what came is taken, its frames replaced."""
    cdef Xsk *xsk = &path.xsks[index]
    cdef uint32_t taken
    complete(path, xsk)
    if xsk.tx.consumed != xsk.tx.produced:
        kick(path, xsk)
    taken = collect(path, xsk, index, into, room, whole_batch)
    xsk_refill(path, xsk)
    if ring_needs_wakeup(&xsk.fill) or (path.busy_poll and taken == 0):
        recvfrom(xsk.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL)
    return taken


cdef uint32_t collect(XskPath *path, Xsk *xsk, uint32_t index, Desc *into, uint32_t room,
                      bint whole_batch) noexcept nogil:
    """Whole packets off the receive ring; one whose end does not fit waits, or is dropped if it never can."""
    cdef uint32_t there, i
    cdef uint32_t whole = 0
    if xsk.skipping:
        skip(path, xsk)
    there = ring_peek(&xsk.rx, room)
    for i in range(there):
        describe(path, xsk, index, ring_desc(&xsk.rx, xsk.rx.consumed + i), &into[i])
        if not into[i].flags & DESC_CONTINUES:
            whole = i + 1
            path.counters.rx_packets += 1
    if whole == 0 and there == room and whole_batch and room:
        path.counters.rx_too_long += 1
        xsk.skipping = True
        skip(path, xsk)
        return 0
    for i in range(whole):
        path.lent[into[i].frame] -= 1
        path.counters.rx_bytes += into[i].length
    ring_release(&xsk.rx, whole)
    xsk.in_fill -= whole
    return whole


cdef inline void describe(XskPath *path, Xsk *xsk, uint32_t index, const xdp_desc *entry,
                          Desc *desc) noexcept nogil:
    """The kernel's descriptor as ours; its address points behind the headroom, at the packet."""
    cdef uint64_t chunk_mask = (<uint64_t>1 << path.pool.chunk_shift) - 1
    desc.frame = <uint32_t>(entry.addr >> path.pool.chunk_shift)
    desc.offset = <uint16_t>(entry.addr & chunk_mask)
    desc.length = <uint16_t>entry.len
    desc.flags = DESC_CONTINUES if entry.options & XDP_PKT_CONTD else 0
    desc.queue = <uint16_t>index
    desc.csum_start = desc.csum_offset = 0


cdef void skip(XskPath *path, Xsk *xsk) noexcept nogil:
    """Drop parts of a packet up to its last one, as far as they have come."""
    cdef uint32_t frame, options
    cdef const xdp_desc *entry
    while xsk.skipping and ring_peek(&xsk.rx, 1):
        entry = ring_desc(&xsk.rx, xsk.rx.consumed)
        frame = <uint32_t>(entry.addr >> path.pool.chunk_shift)
        options = entry.options
        path.lent[frame] -= 1
        frame_unref(path.pool, frame)
        ring_release(&xsk.rx, 1)
        xsk.in_fill -= 1
        xsk.skipping = (options & XDP_PKT_CONTD) != 0


cdef void xsk_refill(XskPath *path, Xsk *xsk) noexcept nogil:
    cdef uint32_t room = ring_room(&xsk.fill, xsk.fill_target - xsk.in_fill)
    cdef uint32_t frame
    while xsk.in_fill < xsk.fill_target and room:
        frame = frame_take(path.pool)
        if frame == NO_FRAME:
            path.counters.rx_no_frame += 1
            break
        ring_addr(&xsk.fill, xsk.fill.produced)[0] = <uint64_t>frame << path.pool.chunk_shift
        xsk.fill.produced += 1
        in_order()
        xsk.put.fill = xsk.fill.produced
        in_order()
        path.lent[frame] += 1
        xsk.in_fill += 1
        room -= 1
    ring_submit(&xsk.fill)


# Transmit

cdef uint32_t xsk_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef XskPath *path = <XskPath *>link.self
    cdef uint32_t taken = 0
    cdef uint32_t parts, i
    path.now_ns = now_ns
    while taken < count and path.count:
        parts = packet_parts(packets + taken, count - taken)
        if parts == 0 or not offer(path, packets + taken, parts):
            break
        taken += parts
    for i in range(path.count):
        push(path, &path.xsks[i])
    link.counters.tx_refused += count - taken
    return taken


cdef inline bint offer(XskPath *path, const Desc *packet, uint32_t parts) noexcept nogil:
    """One packet into its queue's ring; false: there is no room for it now."""
    cdef Xsk *xsk = &path.xsks[packet.queue if packet.queue < path.count else 0]
    if packet.flags & DESC_SEGMENTS:
        return offer_segments(path, xsk, packet, parts)
    if not can_be_sent(path, packet, parts):
        packet_release(path.pool, packet, parts)
        path.counters.tx_invalid += 1
        return True
    if ring_room(&xsk.tx, parts) < parts:
        push(path, xsk)
        complete(path, xsk)
        if ring_room(&xsk.tx, parts) < parts:
            return False
    put(path, xsk, packet, parts)
    return True


cdef bint offer_segments(XskPath *path, Xsk *xsk, const Desc *packet, uint32_t parts) noexcept nogil:
    """A packet to be cut up goes through a packet socket, behind everything that was put into the ring before it.

    The kernel copies in the call, so that the references come back at once. False: it takes nothing for now.
    """
    cdef int error
    push(path, xsk)
    if not ring_drained(&xsk.tx):
        return False
    path.counters.tx_kicks += 1
    error = packet_socket_send(path.packet_socket, path.pool, packet, parts)
    if error == EAGAIN or error == ENOBUFS:
        path.counters.tx_retries += 1
        return False
    if error:
        path.counters.tx_failed += 1
    else:
        path.counters.tx_packets += 1
        path.counters.tx_segmented += 1
        path.counters.tx_bytes += packet_bytes(packet, parts)
    packet_release(path.pool, packet, parts)
    return True


cdef inline bint can_be_sent(XskPath *path, const Desc *packet, uint32_t parts) noexcept nogil:
    """What the kernel would refuse it would also never complete: the frame would be lost."""
    cdef uint32_t i
    if parts > 1 and not path.multi_buffer:
        return False
    for i in range(parts):
        if (packet[i].length == 0 or packet[i].offset < path.metadata_bytes
                or <uint32_t>packet[i].offset + packet[i].length > path.pool.state.chunk_bytes):
            return False
    return True


cdef inline void put(XskPath *path, Xsk *xsk, const Desc *packet, uint32_t parts) noexcept nogil:
    """Write the packet's descriptors; its references go to the kernel."""
    cdef uint32_t options = 0
    cdef uint32_t i
    cdef xdp_desc *entry
    if packet.flags & DESC_CHECKSUM:
        options = request_checksum(path, packet, parts)
    for i in range(parts):
        entry = ring_desc(&xsk.tx, xsk.tx.produced)
        entry.addr = (<uint64_t>packet[i].frame << path.pool.chunk_shift) + packet[i].offset
        entry.len = packet[i].length
        entry.options = options | (XDP_PKT_CONTD if i + 1 < parts else 0)
        options = 0
        xsk.tx.produced += 1
        in_order()
        xsk.put.tx = xsk.tx.produced
        in_order()
        path.lent[packet[i].frame] += 1
        path.counters.tx_bytes += packet[i].length
    path.counters.tx_packets += 1


cdef uint32_t request_checksum(XskPath *path, const Desc *packet, uint32_t parts) noexcept nogil:
    """Have the device fill the checksum in, by metadata in front of the packet, or do it here.

    Returns the descriptor's options.
    """
    cdef TxMetadata *metadata
    cdef uint8_t *place
    cdef uint16_t checksum
    if not packet_wants_checksum(packet, packet_bytes(packet, parts)):
        return 0
    if path.checksum:
        metadata = <TxMetadata *>(frame_chunk(path.pool, packet.frame) + packet.offset - path.metadata_bytes)
        metadata.flags = XDP_TXMD_FLAGS_CHECKSUM
        metadata.csum_start = packet.csum_start
        metadata.csum_offset = packet.csum_offset
        return XDP_TX_METADATA
    checksum = packet_checksum(path.pool, packet, parts)
    place = packet_octet(path.pool, packet, packet.csum_start + packet.csum_offset)
    place[0] = (<uint8_t *>&checksum)[0]
    packet_octet(path.pool, packet, packet.csum_start + packet.csum_offset + 1)[0] = (<uint8_t *>&checksum)[1]
    return 0


cdef inline void push(XskPath *path, Xsk *xsk) noexcept nogil:
    """Submit what was put into the ring, and have the kernel send it."""
    if xsk.tx.produced != xsk.tx.consumed:
        ring_submit(&xsk.tx)
        kick(path, xsk)


cdef void kick(XskPath *path, Xsk *xsk) noexcept nogil:
    """Make the kernel send. In copy mode the call itself does, some descriptors at a time.

    EAGAIN says that there are more, or that the send buffer is full; EBUSY and ENOBUFS that the device is.
    Where calls no longer help, the rest stays in the ring for the next call.
    """
    cdef uint32_t idle = 0
    cdef uint32_t before
    while idle < KICKS_WITHOUT_PROGRESS and not ring_drained(&xsk.tx):
        if not (path.busy_poll or ring_needs_wakeup(&xsk.tx)):
            return
        before = xsk.tx.consumed
        path.counters.tx_kicks += 1
        if sendto(xsk.fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0:
            if errno != EAGAIN and errno != EBUSY and errno != ENOBUFS:
                return
            path.counters.tx_retries += 1
        if path.zero_copy:
            return
        if ring_drained(&xsk.tx) or xsk.tx.consumed != before:
            idle = 0
        else:
            idle += 1


cdef void complete(XskPath *path, Xsk *xsk) noexcept nogil:
    """Take back the references of descriptors that were sent."""
    cdef Ring *ring = &xsk.completion
    cdef uint32_t done = ring_peek(ring, ring.mask + 1)
    cdef uint32_t i, frame
    for i in range(done):
        frame = <uint32_t>(ring_addr(ring, ring.consumed + i)[0] >> path.pool.chunk_shift)
        path.lent[frame] -= 1
        frame_unref(path.pool, frame)
    if done:
        ring_release(ring, done)


# Between batches

cdef void xsk_wake(Link *link) noexcept nogil:
    cdef XskPath *path = <XskPath *>link.self
    cdef uint32_t i
    for i in range(path.count):
        complete(path, &path.xsks[i])
        kick(path, &path.xsks[i])
        xsk_refill(path, &path.xsks[i])
        if ring_needs_wakeup(&path.xsks[i].fill):
            recvfrom(path.xsks[i].fd, NULL, 0, MSG_DONTWAIT, NULL, NULL)


cdef uint64_t xsk_deadline(Link *link) noexcept nogil:
    """Soon, while a ring holds descriptors that the kernel would not take; a zero-copy driver comes."""
    cdef XskPath *path = <XskPath *>link.self
    cdef uint32_t i
    for i in range(path.count):
        if not path.zero_copy and not ring_drained(&path.xsks[i].tx):
            return path.now_ns + RETRY_NS
    return NEVER


cdef void xsk_reclaim(XskPath *path) noexcept nogil:
    cdef uint32_t frame
    for frame in range(path.pool.state.count):
        while path.lent[frame]:
            path.lent[frame] -= 1
            frame_unref(path.pool, frame)


# After a crash

cdef void xsk_settle(Xsk *xsk) noexcept nogil:
    xsk.in_fill = xsk.fill.producer[0] - xsk.rx.consumer[0]
    xsk.put.tx = xsk.tx.producer[0]
    xsk.put.fill = xsk.fill.producer[0]


cdef void xsk_mend(XskPath *path) noexcept nogil:
    """Frames that lie in a ring are the kernel's, or were until a moment ago and come back once more. Those that were written
    and never submitted are not. Of all others `lent` is right.
    """
    cdef Xsk *xsk
    cdef uint32_t i
    for i in range(path.pool.state.count):
        path.lent[i] = min(path.lent[i], <uint16_t>1)
    for i in range(path.count):
        xsk = &path.xsks[i]
        mend_descs(path, &xsk.rx, xsk.rx.consumer[0], xsk.rx.producer[0], 1)
        mend_addresses(path, &xsk.completion, xsk.completion.consumer[0], xsk.completion.producer[0], 1)
        mend_descs(path, &xsk.tx, xsk.tx.producer[0], xsk.put.tx, 0)
        mend_addresses(path, &xsk.fill, xsk.fill.producer[0], xsk.put.fill, 0)
        xsk_settle(xsk)


cdef void mend_descs(XskPath *path, Ring *ring, uint32_t first, uint32_t end, uint16_t lent) noexcept nogil:
    cdef uint32_t i
    if end - first <= ring.mask + 1:
        for i in range(end - first):
            mend_frame(path, ring_desc(ring, first + i).addr, lent)


cdef void mend_addresses(XskPath *path, Ring *ring, uint32_t first, uint32_t end, uint16_t lent) noexcept nogil:
    cdef uint32_t i
    if end - first <= ring.mask + 1:
        for i in range(end - first):
            mend_frame(path, ring_addr(ring, first + i)[0], lent)


cdef inline void mend_frame(XskPath *path, uint64_t address, uint16_t lent) noexcept nogil:
    """Whatever killed the process may have written to the rings as well."""
    if address >> path.pool.chunk_shift < path.pool.state.count:
        path.lent[address >> path.pool.chunk_shift] = lent
