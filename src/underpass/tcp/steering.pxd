"""Source ports that bring the answers to a queue of this worker: what the network card makes of them (RSS) is worked out.

    answer  remote:port -> local:ours --Toeplitz--> hash --mod its entries--> indirection table --> queue: one of ours?

Where the hash is not known any port is taken, and answers that come by another queue are handed over (tcp/flows.pxd).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport Address
from underpass.wire.toeplitz cimport Toeplitz

cdef enum:
    INDIRECTION_MAX = 4096          # entries of the largest table that is followed
    KEY_LEAST = 16                  # octets of a key: addresses and ports of IPv4, and the 32 bits behind them
    KEY_LEAST_V6 = 40

cdef struct Steering:
    Toeplitz hash
    bint v4                         # whether the device hashes ports of TCP over IPv4
    bint v6
    uint32_t mask                   # entries - 1
    uint32_t tries                  # ports that are tried for one connection
    uint8_t[4096] ours              # by entry: whether it names a queue of this worker

cdef struct Wanted:                 # what the ports of one connection are tried against
    const Steering *steering
    uint32_t tries                  # how many; 0: any port will do
    uint32_t base                   # the answer's hash without our port
    uint32_t at                     # where our port stands in the hash's input

cdef Wanted steering_for(const Tcp *tcp, const Address *local, const Address *remote,
                         uint16_t remote_port) noexcept nogil
cdef bint steering_takes(const Wanted *wanted, uint16_t port) noexcept nogil
# The key, the indirection table's queues, and our own. False: it cannot be followed; nothing is steered then.
cdef bint steering_set(Steering *it, bytes key, list indirection, set queues, bint v4, bint v6) except -1
