"""IPv4 options (RFC 791 3.1, RFC 7126)."""
from underpass.wire.checksum cimport checksum_add
from underpass.wire.reason cimport IPV4_OPTION

cdef enum OptionType:
    END_OF_OPTIONS = 0
    NO_OPERATION = 1
    LOOSE_SOURCE_ROUTE = 131
    STRICT_SOURCE_ROUTE = 137


cdef Reason ipv4_parse_options(const uint8_t *data, uint32_t header_bytes) noexcept nogil:
    """Options are stepped over. A source route is refused (RFC 7126 4.3, 4.4), as Linux does by default."""
    cdef const uint8_t *at = data + IPV4_BYTES
    cdef const uint8_t *end = data + header_bytes
    if checksum_fold(checksum_add(data, header_bytes, 0)) != CHECKSUM_GOOD:
        return IPV4_CHECKSUM
    while at < end and at[0] != END_OF_OPTIONS:
        if at[0] == NO_OPERATION:
            at += 1
            continue
        if end - at < 2 or at[1] < 2 or at[1] > end - at:
            return IPV4_OPTION
        if at[0] == LOOSE_SOURCE_ROUTE or at[0] == STRICT_SOURCE_ROUTE:
            return IPV4_OPTION
        at += at[1]
    return ACCEPTED
