"""The native half of the bulk application: its plan, what it counts, and the callbacks that TCP calls."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.tcp.tcb cimport App, Tcp
from underpass.wire.address cimport Address

cdef enum:
    PATTERN_PERIOD = 65521          # a prime: no buffer's size hides a shift
    PATTERN_BYTES = 1114097         # the period and 2^20: a piece of 1 MiB lies together wherever it begins
    HEAD_BYTES = 17
    SERVER_PHASE = 7919             # where the server's stream begins in the pattern; the client's at 0
    FLAG_WAIT = 1                   # the server sends when the client's stream has ended, not at once

cdef enum:                          # Flow.state
    VACANT = 0
    OPENING = 1                     # we connect
    ASKED = 2                       # accepted: the head has not come whole
    MOVING = 3

cdef struct Flow:                   # one for each connection block, by index
    uint64_t give                   # octets to send
    uint64_t given
    uint64_t take                   # octets to come
    uint64_t taken
    uint8_t[17] head                # HEAD_BYTES
    uint8_t head_bytes
    uint8_t state
    bint serves
    bint waits                      # for the peer's end before it gives
    bint ended                      # our stream has its end

cdef struct Bulk:
    # the plan
    const uint8_t *pattern
    bint verify
    uint8_t app
    uint8_t congestion
    uint16_t port
    Address remote
    uint32_t total                  # connections to open
    uint32_t at_a_time
    uint64_t up
    uint64_t down
    bint wait
    # the state
    Flow *flows
    bint *stopping                  # the stack's
    uint32_t opened
    uint32_t open
    uint64_t start_ns
    uint64_t end_ns
    # the results
    uint64_t completed
    uint64_t failed                 # reset, timed out, or not opened
    uint64_t cut_short              # ended before what was announced had come, or went on behind it
    uint64_t mismatched             # an octet was not what it must be
    uint64_t octets_in
    uint64_t octets_out
    int last_errno

cdef App bulk_app(Bulk *bulk) noexcept nogil
# Whether the client's plan is carried out.
cdef bint bulk_over(const Bulk *bulk) noexcept nogil
