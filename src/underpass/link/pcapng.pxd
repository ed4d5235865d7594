"""Blocks of a capture file in pcapng (draft-ietf-opsawg-pcapng).

    Section Header | Interface Description, ... | Enhanced Packet, Enhanced Packet, ... | Interface Statistics, ...

A packet's block is written in two steps, so that what is known only once the packet has been dealt with can still be
said of it: `pcapng_begin`, the packet's octets behind it, `pcapng_end`.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    PCAPNG_PACKET_AT = 28       # where the packet's octets stand in an Enhanced Packet Block
    PCAPNG_COMMENT_BYTES = 64   # the longest comment
    PCAPNG_OVERHEAD = 120       # of a block, at most: head, padding, flags, comment, ends of options and block

cdef enum PcapngDirection:      # epb_flags, bits 0 and 1
    PCAPNG_INBOUND = 1
    PCAPNG_OUTBOUND = 2

# The head of a packet's block, of which `captured` octets out of `original` will follow.
cdef void pcapng_begin(uint8_t *block, uint32_t interface, uint64_t time_ns, uint32_t captured,
                       uint32_t original) noexcept nogil
# Its end: `comment` has at most PCAPNG_COMMENT_BYTES; 0 octets: none. Returns the block's octets. Nothing is read from
# the block: it may lie in memory that others write to.
cdef uint32_t pcapng_end(uint8_t *block, uint32_t captured, uint32_t direction, const char *comment,
                         uint32_t comment_bytes) noexcept nogil
