"""From the octets of a frame to a validated Segment, or the Reason why not."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.ip.network cimport Network
from underpass.wire.reason cimport Reason
from underpass.wire.segment cimport Segment

cdef struct Chunk:              # a later part of a packet that spans several frames
    const uint8_t *data
    uint32_t length

# Parse and validate everything: Ethernet (destination MAC is ours), VLAN, IPv4 or IPv6 with extension
# headers, source policy, TCP header, options, checksum. `rest` are the chunks after the first (`rest_count`
# may be 0). Sets every field of seg but frame, offset and queue. `partial_ok`: the link gives
# CHECKSUM_PARTIAL packets.
# `own`: the link has given back what we sent, from an address of ours.
cdef Reason ip_receive(const Network *net, const uint8_t *packet, uint32_t head_bytes, const Chunk *rest,
                       uint32_t rest_count, bint partial_ok, bint own, Segment *seg) noexcept nogil
