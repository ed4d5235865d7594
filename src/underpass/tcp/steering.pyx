"""Which source ports bring the answers to this worker."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.toeplitz cimport toeplitz_base, toeplitz_destination_at, toeplitz_init, toeplitz_port

cdef enum:
    TRIES_A_SHARE = 16              # with a share of 1/n in the table, 16 n ports all miss once in 9 million


cdef Wanted steering_for(const Tcp *tcp, const Address *local, const Address *remote,
                         uint16_t remote_port) noexcept nogil:
    cdef const Steering *it = <const Steering *>tcp.steering
    cdef bint v4 = address_is_v4(local)
    cdef Wanted wanted
    wanted.steering = NULL
    wanted.tries = wanted.base = wanted.at = 0
    if it == NULL or not (it.v4 if v4 else it.v6):
        return wanted
    wanted.steering = it
    wanted.tries = it.tries
    wanted.base = toeplitz_base(&it.hash, remote, local, remote_port)
    wanted.at = toeplitz_destination_at(v4)
    return wanted


cdef bint steering_takes(const Wanted *wanted, uint16_t port) noexcept nogil:
    cdef const Steering *it = wanted.steering
    return it.ours[(wanted.base ^ toeplitz_port(&it.hash, wanted.at, port)) & it.mask] != 0


cdef bint steering_set(Steering *it, bytes key, list indirection, set queues, bint v4, bint v6) except -1:
    cdef uint32_t count = len(indirection)
    cdef uint32_t ours = 0
    cdef uint32_t i
    if count == 0 or count > INDIRECTION_MAX or count & (count - 1) or len(key) < KEY_LEAST:
        return False
    for i in range(count):
        it.ours[i] = indirection[i] in queues
        ours += it.ours[i]
    it.v4 = v4
    it.v6 = v6 and len(key) >= KEY_LEAST_V6
    if ours == 0 or not (it.v4 or it.v6):
        return False
    it.mask = count - 1
    it.tries = TRIES_A_SHARE * ((count + ours - 1) // ours)
    toeplitz_init(&it.hash, <const uint8_t *><const char *>key, len(key))
    return True
