"""Which addresses a segment may carry (RFC 1122 3.2.1.3, RFC 4291 2.5 and 2.7, RFC 9293 3.9.2.3)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.ip.network cimport Network, network_is_broadcast, network_is_local, network_may_be_own
from underpass.wire.address cimport (Address, address_first_octet, address_is_group, address_is_loopback,
                                     address_is_v4)


cdef inline bint policy_is_unicast(const Address *address) noexcept nogil:
    """One station's address as it may stand on the wire: not any, not loopback, not a group."""
    if address_is_group(address):
        return False
    if address_is_v4(address):
        return address_first_octet(address) != 0 and not address_is_loopback(address)
    return address.high != 0        # ::/64 holds :: and ::1


cdef inline bint policy_allows_source(const Network *net, const Address *src) noexcept nogil:
    """RFC 9293 3.9.2.3, MUST-63: what no station can have sent is dropped; nor do we send to ourselves."""
    if not policy_is_unicast(src):
        return False
    if not network_may_be_own(net, src):
        return True
    return not network_is_local(net, src) and not network_is_broadcast(net, src)


cdef inline bint policy_allows_destination(const Address *dst) noexcept nogil:
    """RFC 9293 3.9.2.3, MUST-57: nothing that is addressed to a group or to all."""
    return policy_is_unicast(dst)
