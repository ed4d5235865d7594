"""The native half of the load generator: its plan, its state, and the callbacks that TCP calls."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.apps.histogram cimport Histogram
from underpass.apps.load_response cimport Response
from underpass.tcp.tcb cimport App, Tcp
from underpass.wire.address cimport Address

cdef enum:
    MAX_OPENING = 512                   # handshakes at a time: more would overrun the listener's backlog
    RETRY_NS = 10000000                 # after a connection that failed
    SCAN_NS = 250000000                 # how often requests are looked over for their time limit

cdef enum:                              # Exchange.state
    VACANT = 0                          # not a connection of ours
    OPENING = 1
    IDLE = 2
    BUSY = 3                            # a request is on its way, or its answer

cdef enum:                              # Load.failures
    FAILED_REFUSED = 0
    FAILED_UNREACHABLE = 1
    FAILED_NO_PORT = 2                  # source ports, or connection blocks, are used up
    FAILED_CONNECT = 3                  # any other way that connecting fails
    FAILED_RESET = 4
    FAILED_TIMEOUT = 5                  # no answer within the time limit
    FAILED_CUT_OFF = 6                  # closed before the answer's end
    FAILED_MALFORMED = 7                # not an HTTP answer
    FAILED_OUTPUT = 8                   # the body could not be written
    FAILURES = 9

cdef struct Exchange:                   # one for each connection block, by index
    uint64_t due_ns                     # when the request was to be sent
    uint32_t sent                       # octets of the request given to TCP
    uint32_t idle_next                  # list of the idle ones
    uint32_t idle_prev
    uint8_t state
    Response response

cdef struct Load:
    # the plan
    const uint8_t *request
    uint32_t request_bytes
    uint32_t connections
    uint64_t request_limit              # 0: none
    uint64_t duration_ns
    uint64_t timeout_ns
    double period_ns                    # open loop: between two requests; 0: closed loop
    bint keep_alive
    bint to_head
    uint8_t app
    uint16_t port
    Address remote
    Address *sources
    uint32_t source_count
    int output                          # descriptor for bodies, or -1
    # the state
    bint *stopping                      # the stack's
    bint started
    bint over
    Exchange *exchanges
    uint32_t exchange_count
    uint32_t open                       # connections, opening or open
    uint32_t opening
    uint32_t idle_head                  # the one that has waited longest
    uint32_t idle_tail
    uint32_t source_next
    uint64_t start_ns
    uint64_t end_ns
    uint64_t retry_ns                   # no connection is opened before
    uint64_t scan_ns
    uint64_t issued                     # requests begun
    # the results
    uint64_t answered
    uint64_t established
    uint64_t octets
    uint64_t[6] statuses                # by hundreds
    uint64_t[9] failures
    int last_errno
    Histogram latency
    Histogram connecting

# The callbacks, with `load` as their own.
cdef App load_app(Load *load) noexcept nogil
# End every connection that is still there.
cdef void load_close(Load *load, Tcp *tcp) noexcept nogil
