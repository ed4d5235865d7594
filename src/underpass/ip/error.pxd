"""From the octets of a frame that is no segment to an ICMP error about one, or the Reason why not."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.ip.network cimport Network
from underpass.wire.icmp cimport IcmpError
from underpass.wire.reason cimport Reason

# The packet lies in one chunk: RFC 1812 4.3.2.3 and RFC 4443 2.4 (c) keep errors that short.
cdef Reason ip_receive_error(const Network *net, const uint8_t *packet, uint32_t bytes,
                             IcmpError *error) noexcept nogil
