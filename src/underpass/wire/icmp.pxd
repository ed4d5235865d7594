"""ICMP errors about segments that this host sent (RFC 792, RFC 4443 3).

    | type 1 | code 1 | checksum 2 | next hop's MTU or unused 4 | IP header, as it was sent | ports 4 | sequence number 4 | ...

What is quoted says which connection an error is about, and which segment: nothing else in it can be checked.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.wire.address cimport Address
from underpass.wire.reason cimport Reason
from underpass.wire.seq cimport seq_t

cdef enum:
    ICMP_BYTES = 8
    PROTOCOL_ICMP = 1
    NEXT_ICMP = 58

cdef enum IcmpKind:
    ICMP_TOO_BIG = 0                # the packet is larger than the next hop's MTU
    ICMP_PASSING = 1                # trouble on the way of this packet: time exceeded, parameter problem
    ICMP_UNREACHABLE = 2            # no way there at present (RFC 1122 4.2.3.9: net, host, source route)
    ICMP_REFUSED = 3                # nobody is there to talk to, or it is forbidden (RFC 1122 4.2.3.9: hard errors)

cdef struct IcmpError:
    Address local                   # the quoted segment's source: ours
    Address remote
    uint16_t local_port
    uint16_t remote_port
    seq_t seq
    uint32_t quoted_bytes           # the whole quoted packet, as its header says
    uint32_t mtu                    # ICMP_TOO_BIG: the next hop's; 0: an old router did not say (RFC 1191 5)
    int error                       # errno, as Linux translates type and code
    uint8_t kind                    # IcmpKind

# The ICMP message at data, from src to dst (both of one family).
cdef Reason icmp_parse(const Address *src, const Address *dst, const uint8_t *data, uint32_t bytes,
                       IcmpError *error) noexcept nogil
