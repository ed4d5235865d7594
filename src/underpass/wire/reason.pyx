"""The reasons' names, as counters and messages show them."""

# In the order of the enum in reason.pxd.
cdef tuple NAMES = (
    "accepted",
    "ethernet_short",
    "ethernet_type",
    "ethernet_vlan_depth",
    "ethernet_not_ours",
    "ipv4_short",
    "ipv4_version",
    "ipv4_header_length",
    "ipv4_total_length",
    "ipv4_checksum",
    "ipv4_fragment",
    "ipv4_option",
    "ipv6_short",
    "ipv6_version",
    "ipv6_payload_length",
    "ipv6_extension",
    "ipv6_fragment",
    "ip_protocol",
    "ip_source",
    "ip_destination",
    "tcp_short",
    "tcp_data_offset",
    "tcp_checksum",
    "tcp_option_length",
    "tcp_port_zero",
    "tcp_flags",
    "icmp_short",
    "icmp_checksum",
    "icmp_type",
    "icmp_quote",
)

if len(NAMES) != REASONS:
    raise ImportError(f"{len(NAMES)} names for {REASONS} reasons")


def reason_names():
    """The name of every Reason; its number is the index."""
    return NAMES
