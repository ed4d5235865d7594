from libc.stdint cimport uint8_t, uint64_t

from underpass.testing.parcel cimport Parcel

# The ICMP error that router `number` sends about a packet beyond `mtu`, to be sent back, or NULL where none
# may be sent.
cdef Parcel *too_big_new(Parcel *packet, uint8_t number, uint64_t mtu) noexcept nogil
