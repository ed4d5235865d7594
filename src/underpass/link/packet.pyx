"""Packets as links made of software see them: one or several descriptors, gathered, copied and summed."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.link.frames cimport FramePool, frame_chunk, frame_take
from underpass.link.link cimport DESC_CHECKSUM, DESC_CONTINUES, Desc


cdef inline uint8_t *part_octets(FramePool *pool, const Desc *part) noexcept nogil:
    return frame_chunk(pool, part.frame) + part.offset


cdef void packet_gather(FramePool *pool, const Desc *at, uint32_t parts, uint8_t *into) noexcept nogil:
    cdef uint32_t i
    for i in range(parts):
        memcpy(into, part_octets(pool, &at[i]), at[i].length)
        into += at[i].length


cdef uint32_t packet_copy(FramePool *source, const Desc *at, uint32_t parts, FramePool *target,
                          Desc *into) noexcept nogil:
    cdef uint32_t total = packet_bytes(at, parts)
    cdef uint32_t made = take_parts(target, total, into)
    cdef uint32_t position
    cdef uint16_t checksum
    if made == 0:
        return 0
    into[0].queue = at[0].queue
    if made == 1:
        packet_gather(source, at, parts, part_octets(target, into))
    else:
        scatter(source, at, parts, target, into)
    if packet_wants_checksum(at, total):
        checksum = packet_checksum(source, at, parts)
        position = <uint32_t>at.csum_start + at.csum_offset
        packet_octet(target, into, position)[0] = (<uint8_t *>&checksum)[0]
        packet_octet(target, into, position + 1)[0] = (<uint8_t *>&checksum)[1]
    return made


cdef uint32_t packet_from_octets(FramePool *target, const uint8_t *octets, uint32_t count, Desc *into) noexcept nogil:
    cdef uint32_t made = take_parts(target, count, into)
    cdef uint32_t i
    for i in range(made):
        memcpy(part_octets(target, &into[i]), octets, into[i].length)
        octets += into[i].length
    return made


cdef uint32_t take_parts(FramePool *pool, uint32_t total, Desc *into) noexcept nogil:
    """Descriptors with fresh frames for `total` octets; 0 and nothing taken where that cannot be."""
    cdef uint32_t room = pool.state.chunk_bytes - RX_HEADROOM
    cdef uint32_t need = (total + room - 1) // room if total else 1
    cdef uint32_t i
    if need > MAX_PARTS or need > pool.state.free:
        if need <= MAX_PARTS:
            pool.state.refused += 1
        return 0
    for i in range(need):
        into[i].frame = frame_take(pool)
        into[i].offset = RX_HEADROOM
        into[i].length = <uint16_t>(room if total > room else total)
        into[i].flags = DESC_CONTINUES if i + 1 < need else 0
        into[i].queue = into[i].csum_start = into[i].csum_offset = 0
        total -= into[i].length
    return need


cdef void scatter(FramePool *source, const Desc *at, uint32_t parts, FramePool *target,
                  Desc *into) noexcept nogil:
    """Copy between two layouts of the same number of octets."""
    cdef uint32_t i, octets, done
    cdef uint32_t filled = 0
    for i in range(parts):
        done = 0
        while done < at[i].length:
            if filled == into.length:
                into += 1
                filled = 0
            octets = min(<uint32_t>at[i].length - done, <uint32_t>into.length - filled)
            memcpy(part_octets(target, into) + filled, part_octets(source, &at[i]) + done, octets)
            done += octets
            filled += octets


cdef uint8_t *packet_octet(FramePool *pool, const Desc *at, uint32_t position) noexcept nogil:
    while position >= at.length:
        position -= at.length
        at += 1
    return part_octets(pool, at) + position


cdef bint packet_wants_checksum(const Desc *at, uint32_t bytes) noexcept nogil:
    return (at.flags & DESC_CHECKSUM) != 0 and <uint32_t>at.csum_start + at.csum_offset + 2 <= bytes


cdef uint16_t packet_checksum(FramePool *pool, const Desc *at, uint32_t parts) noexcept nogil:
    """RFC 1071; the field itself holds the pseudo-header's sum and is summed with the rest.

    A part that starts at an odd octet of the sum contributes its sum with the octets swapped (RFC 1071 2
    (B)).
    """
    cdef uint32_t skip = at.csum_start
    cdef uint32_t i, position = 0
    cdef uint64_t total = 0
    cdef uint16_t part
    for i in range(parts):
        if skip >= at[i].length:
            skip -= at[i].length
            continue
        part = fold(words_sum(part_octets(pool, &at[i]) + skip, at[i].length - skip))
        total += <uint16_t>(part << 8 | part >> 8) if position & 1 else part
        position += at[i].length - skip
        skip = 0
    return finished(total)


cdef inline uint16_t finished(uint64_t total) noexcept nogil:
    """0 would mean 'no checksum' to UDP: the kernel, too, writes the other zero."""
    cdef uint16_t checksum = <uint16_t>~fold(total)
    return checksum if checksum else 0xFFFF


cdef void packet_fill_checksum(const Desc *at, uint8_t *packet) noexcept nogil:
    cdef uint16_t checksum
    if packet_wants_checksum(at, at.length):
        checksum = finished(words_sum(packet + at.csum_start, at.length - at.csum_start))
        memcpy(packet + at.csum_start + at.csum_offset, &checksum, 2)


cdef uint64_t words_sum(const uint8_t *octets, uint32_t length) noexcept nogil:
    """Sum of 16-bit words in native order, an odd octet padded with zero; taken 32 bits at a time, which sums to the same."""
    cdef uint64_t total = 0
    cdef uint32_t word
    while length >= 4:
        memcpy(&word, octets, 4)
        total += word
        octets += 4
        length -= 4
    if length:
        word = 0
        memcpy(&word, octets, length)
        total += word
    return total


cdef inline uint16_t fold(uint64_t total) noexcept nogil:
    total = <uint64_t><uint32_t>total + (total >> 32)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return <uint16_t>total
