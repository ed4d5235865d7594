"""Why a packet was not accepted. Every parser returns one of these for any octets; each has a counter.

The names in `wire/reason.pyx` stand in the same order.
"""

cdef enum Reason:
    ACCEPTED = 0
    # Ethernet
    ETHERNET_SHORT              # fewer octets than the header needs
    ETHERNET_TYPE               # neither IPv4 nor IPv6
    ETHERNET_VLAN_DEPTH         # a second tag, or a service tag
    ETHERNET_NOT_OURS           # addressed to another station, to all, or to a group
    # IPv4 (RFC 791, RFC 1122 3.2.1)
    IPV4_SHORT
    IPV4_VERSION
    IPV4_HEADER_LENGTH          # under 20 octets or past the packet
    IPV4_TOTAL_LENGTH           # under the header's length or past the frame
    IPV4_CHECKSUM
    IPV4_FRAGMENT               # not reassembled: TCP does not send fragments
    IPV4_OPTION                 # an option that runs over the header's end, or a source route
    # IPv6 (RFC 8200)
    IPV6_SHORT
    IPV6_VERSION
    IPV6_PAYLOAD_LENGTH         # past the frame
    IPV6_EXTENSION              # a chain that is too long, malformed, or not to be processed
    IPV6_FRAGMENT
    # either
    IP_PROTOCOL                 # neither TCP nor ICMP
    IP_SOURCE                   # any, loopback, group, broadcast, or our own
    IP_DESTINATION              # any, loopback or a group: no station's address
    # TCP (RFC 9293 3.1)
    TCP_SHORT                   # under 20 octets, or a header that goes on in the next chunk
    TCP_DATA_OFFSET             # under 5 or past the segment
    TCP_CHECKSUM
    TCP_OPTION_LENGTH           # 0, 1, past the header, or wrong for its kind
    TCP_PORT_ZERO
    TCP_FLAGS                   # SYN with FIN or RST, or no flag that belongs to any state
    # ICMP (RFC 792, RFC 4443)
    ICMP_SHORT                  # under eight octets, or it ends before the quoted sequence number
    ICMP_CHECKSUM
    ICMP_TYPE                   # no error that ends or changes a connection
    ICMP_QUOTE                  # the packet quoted is no segment that this host sent
    REASONS                     # how many there are
