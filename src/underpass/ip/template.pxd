"""Headers of a flow, made once: Ethernet, tag and IP as they stand before every segment of a connection."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.ip.network cimport Network
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment

cdef struct HeaderTemplate:     # 72 bytes
    uint64_t pseudo             # partial checksum of the addresses and the protocol, without the length
    uint8_t length              # octets of all headers before TCP: 34, 38, 54 or 58
    uint8_t ip_offset           # octets of Ethernet and tag
    uint16_t ip_sum             # IPv4: folded sum of the header with total length and checksum 0
    uint8_t[60] octets          # destination MAC first

# A template for a flow: destination MAC zero (the sender copies it from the neighbour), IPv4 DF set and ID 0
# (RFC 6864), hop limit 64.
cdef void template_make(HeaderTemplate *template, const Network *net, const Address *src, const Address *dst,
                        uint16_t vlan) noexcept nogil
# The traffic class (DSCP; 0 for ECN) and the hop limit (0: 64) of the flow from now on (RFC 9293 3.9.1.7, 3.9.2).
cdef void template_set(HeaderTemplate *template, uint8_t traffic_class, uint8_t hop_limit) noexcept nogil
# Write the headers so that they end at tcp; returns their first octet. `tcp_bytes`: TCP header and payload.
cdef uint8_t *template_write(const HeaderTemplate *template, const uint8_t *mac, uint8_t *tcp,
                             uint32_t tcp_bytes) noexcept nogil
# Set the lengths in headers that template_write has written: more payload has joined the packet.
cdef void template_lengthen(const HeaderTemplate *template, uint8_t *packet, uint32_t tcp_bytes) noexcept nogil
# Say in headers that template_write has written that the packet may be marked instead of dropped: ECT(0) (RFC 3168 5).
cdef void template_mark(const HeaderTemplate *template, uint8_t *packet) noexcept nogil
# Headers that answer seg: addresses and MACs swapped, same tag. For replies that belong to no connection.
cdef uint8_t *template_answer(const Network *net, const Segment *seg, uint8_t *tcp,
                              uint32_t tcp_bytes) noexcept nogil
