"""The trace: one connection's life as records, in a spool that another process reads (see link/spool.pxd).

A view is what of a connection changes with its life: state, windows, round trip, timer, what is lost. While a trace is
on, the loop looks at the connection after each packet, after each timer of it that fired, and when a turn has come to
its output; where the view is another than last time a record tells it, with what had just happened. So the procedures
of TCP need not know that they are watched. Only what no view can tell is noted where it happens: that the connection
begins, each segment sent again with the reason, and that the block is given back.

A trace follows one connection, the first that fits, and ends with it: in CLOSED or TIME-WAIT. What a record that found
no room would have told, the next one tells; segments sent again that found none are counted in `dropped`. The last record
always has its place.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.spool cimport Spool
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.address cimport Address

cdef enum TraceEvent:
    TRACE_BEGAN = 0                 # the first record
    TRACE_CHANGED = 1
    TRACE_FIRED = 2                 # a timer: `cause`
    TRACE_RESENT = 3                # a segment left again: `seq`, `length`, `why`
    TRACE_ENDED = 4                 # the last record

cdef enum TraceCause:               # what had happened
    CAUSE_TURN = 0                  # the application, or output
    CAUSE_SEGMENT = 1               # a packet was taken in
    CAUSE_RETRANSMISSION = 2        # a timer fired
    CAUSE_REORDERING = 3            # RFC 8985 6.2 step 5
    CAUSE_PROBE = 4                 # RFC 8985 7
    CAUSE_PERSIST = 5               # RFC 9293 3.8.6.1
    CAUSE_HANDSHAKE = 6             # the SYN or SYN-ACK was not answered
    CAUSE_LINGER = 7                # keepalive, FIN-WAIT-2, orphan, deferred accept

cdef enum TraceWhy:                 # a segment leaves again
    WHY_TIMEOUT = 0
    WHY_PROBE = 1                   # tail loss probe
    WHY_RACK = 2                    # what was sent later has arrived (RFC 8985 6)
    WHY_DUPLICATES = 3              # acknowledgments that are duplicates or partial, without SACK (RFC 6582)
    WHY_PATH = 4                    # it was too large for the path
    WHY_HANDSHAKE = 5

cdef enum TracePhase:
    PHASE_OPEN = 0
    PHASE_RECOVERY = 1
    PHASE_LOSS = 2                  # after a timeout

cdef enum TraceTimer:               # what the retransmission timer is set for; else the other one
    TIMER_OFF = 0
    TIMER_RETRANSMISSION = 1
    TIMER_REORDERING = 2
    TIMER_PROBE = 3
    TIMER_PERSIST = 4
    TIMER_LINGER = 5

cdef struct TraceView:              # sequence points from the first one on (ISS, IRS); octets; microseconds
    uint32_t state
    uint32_t phase                  # TracePhase
    uint32_t timer                  # TraceTimer
    int32_t error                   # errno for the application
    uint32_t snd_una
    uint32_t snd_nxt
    uint32_t snd_end                # behind the last octet that the application gave
    uint32_t snd_wnd
    uint32_t rcv_nxt
    uint32_t rcv_wnd                # as last advertised
    uint32_t rcv_bytes              # not yet read
    uint32_t ooo_bytes
    uint32_t mss
    uint32_t cwnd
    uint32_t ssthresh
    uint32_t in_flight              # as loss recovery believes
    uint32_t sacked_bytes
    uint32_t lost_bytes
    uint32_t srtt_us
    uint32_t rttvar_us
    uint32_t rto_us
    uint32_t rtt_us                 # that the latest ACK of new data measured; 0: none
    uint32_t backoff
    uint32_t retransmits
    uint32_t timeouts
    uint32_t spare

cdef struct TraceRecord:
    uint32_t type                   # TRACE_TYPE
    uint32_t bytes                  # of the record
    uint64_t at_ns                  # the worker's clock
    uint64_t dropped                # records before this one
    uint32_t event                  # TraceEvent
    uint32_t cause                  # TraceCause
    uint32_t seq                    # TRACE_RESENT: from the ISS on
    uint32_t length
    uint32_t why                    # TraceWhy
    uint32_t congestion             # index of the congestion control
    Address local
    Address remote
    uint16_t local_port
    uint16_t remote_port
    uint32_t spare
    TraceView view

cdef enum:
    TRACE_TYPE = 1

cdef struct Trace:
    Spool spool
    uint64_t filled
    uint64_t records
    uint64_t dropped
    # which connection
    Address remote
    bint any_remote
    uint16_t remote_port            # 0: any
    uint16_t local_port             # 0: any
    uint32_t conn                   # NO_CONN: none yet, or none any more
    bint begun
    bint over
    TraceCause cause
    TraceView last


# The hooks. Each is called only where tcp.trace is not NULL.
cdef void trace_born(Tcp *tcp, uint32_t conn) noexcept nogil
cdef void trace_resent(Tcp *tcp, uint32_t conn, uint32_t seq, uint32_t length) noexcept nogil
cdef void trace_freed(Tcp *tcp, uint32_t conn) noexcept nogil
# A timer of a connection is about to be seen to.
cdef void trace_timer(Tcp *tcp, uint32_t conn) noexcept nogil
# Tell what has changed since the last look.
cdef void trace_look(Tcp *tcp, TraceCause cause) noexcept nogil

# A connection that fits, among those that there are, or NO_CONN. For the start of a trace: it looks at all.
cdef uint32_t trace_find(const Tcp *tcp, const Trace *trace) noexcept nogil
