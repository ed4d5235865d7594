"""The Toeplitz hash, by which network cards choose a receive queue (RSS), as Microsoft's "RSS hashing types" states it.

    input, IPv4 | source address 4 | destination address 4 | source port 2 | destination port 2 |
    input, IPv6 | source address 16 | destination address 16 | source port 2 | destination port 2 |

Each bit of the input that is set brings in 32 bits of the key, from its own place on, by exclusive or. So the hash is
linear: what each of the 16 values of a half octet brings at its place is worked out once for a key, and the hash of all
but one field is kept while that field is tried out.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.wire.address cimport Address

cdef enum:
    TOEPLITZ_INPUT = 36             # octets of the longest input
    TOEPLITZ_KEY_BYTES = 40         # of the key that such an input takes

cdef struct Toeplitz:
    uint32_t[1152] halves           # [16 * place + value]; places are half octets, the high one first

# A key shorter than TOEPLITZ_KEY_BYTES goes on with zeros.
cdef void toeplitz_init(Toeplitz *it, const uint8_t *key, uint32_t key_bytes) noexcept nogil
# The hash of a TCP segment's addresses and ports, but for its destination port.
cdef uint32_t toeplitz_base(const Toeplitz *it, const Address *src, const Address *dst,
                            uint16_t src_port) noexcept nogil


cdef inline uint32_t toeplitz_port(const Toeplitz *it, uint32_t at, uint16_t port) noexcept nogil:
    """What a port at octet `at` of the input brings in."""
    cdef const uint32_t *place = it.halves + 32 * at
    return place[port >> 12] ^ place[16 + (port >> 8 & 15)] ^ place[32 + (port >> 4 & 15)] ^ place[48 + (port & 15)]


cdef inline uint32_t toeplitz_destination_at(bint v4) noexcept nogil:
    """Where the destination port stands in the input."""
    return 10 if v4 else 34
