"""Parsing of TCP headers and options."""
from underpass.wire.octets cimport load16, load32
from underpass.wire.reason cimport (ACCEPTED, TCP_DATA_OFFSET, TCP_FLAGS, TCP_OPTION_LENGTH, TCP_PORT_ZERO,
                                    TCP_SHORT)
from underpass.wire.segment cimport (ACK, FIN, MAX_SACK_BLOCKS, OPTION_MSS, OPTION_SACK,
                                     OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE, RST, SYN)

cdef enum:
    # NOP NOP kind 8 length 10: how RFC 7323 appendix A lays out timestamps, and nearly every segment in use
    # carries them.
    ALIGNED_TIMESTAMPS = 0x0101080A


cdef inline void parse_timestamps(const uint8_t *at, Segment *seg) noexcept nogil:
    seg.ts_val = load32(at)
    seg.ts_ecr = load32(at + 4)
    seg.options |= OPTION_TIMESTAMPS


cdef inline void parse_sack(const uint8_t *at, uint32_t blocks, Segment *seg) noexcept nogil:
    cdef uint32_t i
    seg.sack_count = <uint8_t>blocks
    for i in range(blocks):
        seg.sack[i].start = load32(at + 8 * i)
        seg.sack[i].end = load32(at + 8 * i + 4)
    seg.options |= OPTION_SACK


cdef bint parse_option(const uint8_t *at, uint32_t length, Segment *seg) noexcept nogil:
    """One option that lies within the header. False: its length is wrong for its kind."""
    cdef uint8_t kind = at[0]
    if kind == KIND_MSS:
        if length != 4:
            return False
        seg.mss = load16(at + 2)
        seg.options |= OPTION_MSS
    elif kind == KIND_WINDOW_SCALE:
        if length != 3:
            return False
        seg.window_scale = min(at[2], <uint8_t>MAX_WINDOW_SCALE)
        seg.options |= OPTION_WINDOW_SCALE
    elif kind == KIND_SACK_PERMITTED:
        if length != 2:
            return False
        seg.options |= OPTION_SACK_PERMITTED
    elif kind == KIND_TIMESTAMPS:
        if length != 10:
            return False
        parse_timestamps(at + 2, seg)
    elif kind == KIND_SACK:
        if length < 10 or length > 2 + 8 * MAX_SACK_BLOCKS or (length - 2) % 8:
            return False
        parse_sack(at + 2, (length - 2) // 8, seg)
    return True


cdef Reason parse_options(const uint8_t *at, const uint8_t *end, Segment *seg) noexcept nogil:
    """All options; an unknown one is stepped over by its length (RFC 9293 3.2, MUST-6)."""
    while at < end and at[0] != KIND_END:
        if at[0] == KIND_NOP:
            at += 1
            continue
        # RFC 9293 3.1, MUST-7: be prepared for an illegal length such as zero.
        if end - at < 2 or at[1] < 2 or at[1] > end - at:
            return TCP_OPTION_LENGTH
        if not parse_option(at, at[1], seg):
            return TCP_OPTION_LENGTH
        at += at[1]
    return ACCEPTED


cdef const uint8_t *tcp_find_option(const Segment *seg, uint8_t kind, uint32_t *octets) noexcept nogil:
    cdef const uint8_t *at = seg.packet + seg.tcp_offset + TCP_BYTES
    cdef const uint8_t *end = seg.packet + seg.payload_offset
    while at < end and at[0] != KIND_END:
        if at[0] == KIND_NOP:
            at += 1
            continue
        if at[0] == kind:
            octets[0] = at[1] - 2
            return at + 2
        at += at[1]
    return NULL


cdef inline bint flags_make_sense(uint8_t flags) noexcept nogil:
    """SYN stands alone or with ACK; and no state accepts a segment with none of SYN, FIN, RST and ACK."""
    if flags & SYN:
        return not flags & (FIN | RST)
    return flags & (FIN | RST | ACK) != 0


cdef inline void parse_fixed(const uint8_t *data, uint32_t header_bytes, uint32_t total_bytes,
                             Segment *seg) noexcept nogil:
    seg.src_port = load16(data + TCP_AT_SRC_PORT)
    seg.dst_port = load16(data + TCP_AT_DST_PORT)
    seg.seq = load32(data + TCP_AT_SEQ)
    seg.ack = load32(data + TCP_AT_ACK)
    seg.flags = data[TCP_AT_FLAGS]
    seg.window = load16(data + TCP_AT_WINDOW)
    seg.payload_offset = <uint16_t>(seg.tcp_offset + header_bytes)
    seg.payload_bytes = total_bytes - header_bytes
    seg.options = 0
    seg.sack_count = 0
    seg.window_scale = 0
    seg.mss = 0
    seg.ts_val = seg.ts_ecr = 0


cdef Reason tcp_parse(const uint8_t *data, uint32_t head_bytes, uint32_t total_bytes,
                      Segment *seg) noexcept nogil:
    cdef uint32_t header_bytes
    if head_bytes < TCP_BYTES:
        return TCP_SHORT
    header_bytes = (data[TCP_AT_DATA_OFFSET] >> 4) * 4
    if header_bytes < TCP_BYTES or header_bytes > total_bytes:
        return TCP_DATA_OFFSET
    if header_bytes > head_bytes:
        return TCP_SHORT
    parse_fixed(data, header_bytes, total_bytes, seg)
    if seg.src_port == 0 or seg.dst_port == 0:
        return TCP_PORT_ZERO
    if not flags_make_sense(seg.flags):
        return TCP_FLAGS
    if header_bytes == TCP_BYTES:
        return ACCEPTED
    if header_bytes == TCP_BYTES + TIMESTAMPS_BYTES and load32(data + TCP_BYTES) == ALIGNED_TIMESTAMPS:
        parse_timestamps(data + TCP_BYTES + 4, seg)
        return ACCEPTED
    return parse_options(data + TCP_BYTES, data + header_bytes, seg)
