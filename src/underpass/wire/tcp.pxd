"""TCP headers and options (RFC 9293 3.1, 3.2): parsing, and writing for the engine.

    | src port 2 | dst port 2 | seq 4 | ack 4 | offset 1 | flags 1 | window 2 | checksum 2 | urgent 2 |
    | options | payload |
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from underpass.wire.checksum cimport checksum_add, checksum_fold, checksum_length
from underpass.wire.octets cimport store16, store32
from underpass.wire.reason cimport Reason
from underpass.wire.segment cimport SackBlock, Segment
from underpass.wire.seq cimport seq_t

cdef enum:
    TCP_BYTES = 20
    TCP_MAX_BYTES = 60
    TCP_AT_SRC_PORT = 0
    TCP_AT_DST_PORT = 2
    TCP_AT_SEQ = 4
    TCP_AT_ACK = 8
    TCP_AT_DATA_OFFSET = 12         # in words, in the upper four bits
    TCP_AT_FLAGS = 13
    TCP_AT_WINDOW = 14
    TCP_AT_CHECKSUM = 16
    TCP_AT_URGENT = 18

cdef enum OptionKind:
    KIND_END = 0                    # RFC 9293 3.2
    KIND_NOP = 1
    KIND_MSS = 2
    KIND_WINDOW_SCALE = 3           # RFC 7323 2.2
    KIND_SACK_PERMITTED = 4         # RFC 2018 2
    KIND_SACK = 5                   # RFC 2018 3
    KIND_TIMESTAMPS = 8             # RFC 7323 3.2
    KIND_FAST_OPEN = 34             # RFC 7413 4.1.1

cdef enum:                          # octets of each option, the NOPs that align it counted
    MSS_BYTES = 4
    WINDOW_SCALE_BYTES = 4
    SACK_PERMITTED_BYTES = 4
    TIMESTAMPS_BYTES = 12
    SACK_BYTES = 4                  # and 8 for each block
    MAX_WINDOW_SCALE = 14           # RFC 7323 2.3

# The segment at data: total_bytes of it, the first head_bytes in this chunk (head_bytes <= total_bytes).
# seg.tcp_offset stands. Sets all TCP fields but checksum_partial. The checksum is verified elsewhere, where
# the pseudo-header is known.
cdef Reason tcp_parse(const uint8_t *data, uint32_t head_bytes, uint32_t total_bytes,
                      Segment *seg) noexcept nogil


# The content of an option of a segment that was parsed, for kinds that Segment has no place for; NULL: it has none such.
cdef const uint8_t *tcp_find_option(const Segment *seg, uint8_t kind, uint32_t *octets) noexcept nogil


cdef inline void tcp_write_header(uint8_t *at, uint16_t src_port, uint16_t dst_port, seq_t seq, seq_t ack,
                                  uint8_t flags, uint16_t window, uint32_t header_bytes) noexcept nogil:
    """The fixed 20 octets; checksum and urgent pointer 0. header_bytes: with options, a multiple of four."""
    store16(at + TCP_AT_SRC_PORT, src_port)
    store16(at + TCP_AT_DST_PORT, dst_port)
    store32(at + TCP_AT_SEQ, seq)
    store32(at + TCP_AT_ACK, ack)
    at[TCP_AT_DATA_OFFSET] = <uint8_t>(header_bytes << 2)
    at[TCP_AT_FLAGS] = flags
    store16(at + TCP_AT_WINDOW, window)
    store32(at + TCP_AT_CHECKSUM, 0)


cdef inline void tcp_write_checksum(uint8_t *at, uint32_t tcp_bytes, uint64_t pseudo) noexcept nogil:
    """Fill in the checksum over header and payload, which lie together. pseudo: HeaderTemplate.pseudo."""
    cdef uint16_t checksum
    pseudo += checksum_length(tcp_bytes)
    at[TCP_AT_CHECKSUM] = at[TCP_AT_CHECKSUM + 1] = 0
    checksum = ~checksum_fold(checksum_add(at, tcp_bytes, pseudo))
    memcpy(at + TCP_AT_CHECKSUM, &checksum, 2)


cdef inline void tcp_write_partial(uint8_t *at, uint32_t tcp_bytes, uint64_t pseudo) noexcept nogil:
    """Leave the checksum to the device, which goes on from the folded sum of the pseudo-header."""
    cdef uint16_t checksum = checksum_fold(pseudo + checksum_length(tcp_bytes))
    memcpy(at + TCP_AT_CHECKSUM, &checksum, 2)


cdef inline uint32_t tcp_write_mss(uint8_t *at, uint16_t mss) noexcept nogil:
    store16(at, KIND_MSS << 8 | 4)
    store16(at + 2, mss)
    return MSS_BYTES


cdef inline uint32_t tcp_write_window_scale(uint8_t *at, uint8_t shift) noexcept nogil:
    store16(at, KIND_NOP << 8 | KIND_WINDOW_SCALE)
    store16(at + 2, <uint16_t>(3 << 8 | shift))
    return WINDOW_SCALE_BYTES


cdef inline uint32_t tcp_write_sack_permitted(uint8_t *at) noexcept nogil:
    store32(at, KIND_NOP << 24 | KIND_NOP << 16 | KIND_SACK_PERMITTED << 8 | 2)
    return SACK_PERMITTED_BYTES


cdef inline uint32_t tcp_write_timestamps(uint8_t *at, uint32_t ts_val, uint32_t ts_ecr) noexcept nogil:
    store32(at, KIND_NOP << 24 | KIND_NOP << 16 | KIND_TIMESTAMPS << 8 | 10)
    store32(at + 4, ts_val)
    store32(at + 8, ts_ecr)
    return TIMESTAMPS_BYTES


cdef inline uint32_t tcp_write_sack(uint8_t *at, const SackBlock *blocks, uint32_t count) noexcept nogil:
    """At most four blocks; three beside timestamps (RFC 2018 3)."""
    cdef uint32_t i
    store32(at, KIND_NOP << 24 | KIND_NOP << 16 | KIND_SACK << 8 | (2 + 8 * count))
    for i in range(count):
        store32(at + 4 + 8 * i, blocks[i].start)
        store32(at + 8 + 8 * i, blocks[i].end)
    return SACK_BYTES + 8 * count


cdef inline uint32_t tcp_write_fast_open(uint8_t *at, const uint8_t *cookie, uint32_t octets) noexcept nogil:
    """A cookie, or with no octets the request for one (RFC 7413 4.1.1)."""
    cdef uint32_t padding = <uint32_t>-<int32_t>(octets + 2) & 3
    memset(at, KIND_NOP, padding)
    at[padding] = KIND_FAST_OPEN
    at[padding + 1] = <uint8_t>(octets + 2)
    if octets:
        memcpy(at + padding + 2, cookie, octets)
    return padding + 2 + octets
