"""Looking at one connection, and telling what has changed."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memset

from underpass.link.spool cimport spool_at, spool_has_room, spool_publish
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport (
    CLOSED, CONN_FAST_RECOVERY, CONN_PERSISTING, CONN_RTO_RECOVERY, CONN_SACK, NO_CONN, SYN_RECEIVED, SYN_SENT, TIME_WAIT,
    Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport TRAIT_PROBE_TIMER, TRAIT_REORDERING_TIMER
from underpass.wire.address cimport address_equal


# ---------------------------------------------------------------------------------------------- the view

cdef inline TraceTimer timer_of(const Tcb *tcb) noexcept nogil:
    if tcb.retransmit_at == 0:
        return TIMER_LINGER if tcb.linger_at else TIMER_OFF
    if tcb.traits & TRAIT_REORDERING_TIMER:
        return TIMER_REORDERING
    if tcb.traits & TRAIT_PROBE_TIMER:
        return TIMER_PROBE
    return TIMER_PERSIST if tcb.flags & CONN_PERSISTING else TIMER_RETRANSMISSION


cdef inline TracePhase phase_of(const Tcb *tcb) noexcept nogil:
    if tcb.flags & CONN_RTO_RECOVERY:
        return PHASE_LOSS
    return PHASE_RECOVERY if tcb.flags & CONN_FAST_RECOVERY else PHASE_OPEN


cdef void view_of(const Tcb *tcb, const TcbCold *cold, TraceView *view) noexcept nogil:
    view.state = tcb.state
    view.phase = phase_of(tcb)
    view.timer = timer_of(tcb)
    view.error = cold.error
    view.snd_una = tcb.snd_una - cold.iss
    view.snd_nxt = tcb.snd_nxt - cold.iss
    view.snd_end = tcb.snd_end - cold.iss
    view.snd_wnd = tcb.snd_wnd
    view.rcv_nxt = tcb.rcv_nxt - cold.irs
    view.rcv_wnd = tcb.rcv_adv - tcb.rcv_nxt
    view.rcv_bytes = tcb.rcv_bytes
    view.ooo_bytes = tcb.ooo_bytes
    view.mss = tcb.mss
    view.cwnd = tcb.cwnd
    view.ssthresh = tcb.ssthresh
    view.in_flight = scoreboard_pipe(tcb, cold)
    view.sacked_bytes = tcb.sacked_bytes
    view.lost_bytes = tcb.lost_bytes
    view.srtt_us = tcb.srtt_us >> 3
    view.rttvar_us = tcb.rttvar_us >> 2
    view.rto_us = cold.rto_us
    view.rtt_us = tcb.rtt_us
    view.backoff = cold.backoff
    view.retransmits = cold.retransmits
    view.timeouts = cold.timeouts
    view.spare = 0


# ---------------------------------------------------------------------------------------------- records

cdef TraceRecord *next_record(Tcp *tcp, Trace *trace, TraceEvent event) noexcept nogil:
    """Everything but the view and what a segment sent again has; NULL: no room, which is counted."""
    cdef const Tcb *tcb = &tcp.tcbs[trace.conn]
    cdef TraceRecord *record
    # All but the last record leave room for that one.
    cdef uint64_t octets = sizeof(TraceRecord) * (1 if event == TRACE_ENDED else 2)
    if not spool_has_room(&trace.spool, trace.filled, octets):
        trace.dropped += 1
        trace.spool.shared.dropped = trace.dropped
        return NULL
    record = <TraceRecord *>spool_at(&trace.spool, trace.filled)
    memset(record, 0, sizeof(TraceRecord))
    record.type = TRACE_TYPE
    record.bytes = sizeof(TraceRecord)
    record.at_ns = tcp.now_ns
    record.dropped = trace.dropped
    record.event = event
    record.cause = trace.cause
    record.congestion = tcb.congestion
    record.local = tcb.local
    record.remote = tcb.remote
    record.local_port = tcb.local_port
    record.remote_port = tcb.remote_port
    return record


cdef void publish(Trace *trace) noexcept nogil:
    trace.filled += sizeof(TraceRecord)
    trace.records += 1
    trace.spool.shared.passed = trace.records + trace.dropped
    trace.spool.shared.matched = trace.records + trace.dropped
    spool_publish(&trace.spool, trace.filled)


cdef void write_view(Tcp *tcp, Trace *trace, TraceEvent event, const TraceView *view) noexcept nogil:
    cdef TraceRecord *record = next_record(tcp, trace, event)
    if record != NULL:
        record.view = view[0]
        trace.last = view[0]
        publish(trace)


# ---------------------------------------------------------------------------------------------- which connection

cdef inline bint fits(const Trace *trace, const Tcb *tcb) noexcept nogil:
    return (trace.local_port == 0 or trace.local_port == tcb.local_port) and \
        (trace.remote_port == 0 or trace.remote_port == tcb.remote_port) and \
        (trace.any_remote or address_equal(&trace.remote, &tcb.remote))


cdef uint32_t trace_find(const Tcp *tcp, const Trace *trace) noexcept nogil:
    cdef uint32_t conn
    for conn in range(tcp.state.tcb_fresh):
        if tcp.tcbs[conn].state != CLOSED and tcp.tcbs[conn].state != TIME_WAIT and fits(trace, &tcp.tcbs[conn]):
            return conn
    return NO_CONN


cdef void trace_born(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Trace *trace = <Trace *>tcp.trace
    if trace.conn == NO_CONN and not trace.over and fits(trace, &tcp.tcbs[conn]):
        trace.conn = conn


cdef void trace_freed(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Trace *trace = <Trace *>tcp.trace
    if trace.conn == conn:
        trace_look(tcp, CAUSE_TURN)         # the last one, if there was none in this state yet
        trace.conn = NO_CONN


# ---------------------------------------------------------------------------------------------- what happened

cdef void trace_look(Tcp *tcp, TraceCause cause) noexcept nogil:
    cdef Trace *trace = <Trace *>tcp.trace
    cdef TraceView view
    cdef TraceEvent event = TRACE_CHANGED
    if trace.conn == NO_CONN:
        return
    trace.cause = cause
    view_of(&tcp.tcbs[trace.conn], &tcp.colds[trace.conn], &view)
    if view.state == CLOSED or view.state == TIME_WAIT:
        event = TRACE_ENDED
    elif not trace.begun:
        event = TRACE_BEGAN
    if event != TRACE_CHANGED or memcmp(&view, &trace.last, sizeof(TraceView)) != 0:
        write_view(tcp, trace, event, &view)
    trace.begun = True
    if event == TRACE_ENDED:
        trace.over = True
        trace.conn = NO_CONN
    trace.cause = CAUSE_TURN


cdef inline bint has_come(uint64_t at, uint64_t now_ns) noexcept nogil:
    return at != 0 and at <= now_ns


cdef void trace_timer(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Trace *trace = <Trace *>tcp.trace
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef TraceView view
    cdef uint32_t kind
    if trace.conn != conn:
        return
    if has_come(tcb.retransmit_at, tcp.now_ns):
        kind = timer_of(tcb)
        trace.cause = CAUSE_REORDERING if kind == TIMER_REORDERING else CAUSE_PROBE if kind == TIMER_PROBE else \
            CAUSE_HANDSHAKE if tcb.state == SYN_SENT or tcb.state == SYN_RECEIVED else \
            CAUSE_PERSIST if kind == TIMER_PERSIST else CAUSE_RETRANSMISSION
    elif has_come(tcb.linger_at, tcp.now_ns):
        trace.cause = CAUSE_LINGER
    else:
        return                              # an acknowledgment was due, or the pacing of output
    view_of(tcb, &tcp.colds[conn], &view)
    write_view(tcp, trace, TRACE_FIRED, &view)


cdef inline TraceWhy why_again(const Trace *trace, const Tcb *tcb) noexcept nogil:
    if tcb.state == SYN_SENT or tcb.state == SYN_RECEIVED:
        return WHY_HANDSHAKE
    if trace.cause == CAUSE_PROBE:
        return WHY_PROBE
    if tcb.flags & CONN_RTO_RECOVERY:
        return WHY_TIMEOUT
    if tcb.flags & CONN_FAST_RECOVERY:
        return WHY_RACK if tcb.flags & CONN_SACK else WHY_DUPLICATES
    return WHY_PATH


cdef void trace_resent(Tcp *tcp, uint32_t conn, uint32_t seq, uint32_t length) noexcept nogil:
    cdef Trace *trace = <Trace *>tcp.trace
    cdef TraceRecord *record
    if trace.conn != conn:
        return
    record = next_record(tcp, trace, TRACE_RESENT)
    if record != NULL:
        record.seq = seq - tcp.colds[conn].iss
        record.length = length
        record.why = why_again(trace, &tcp.tcbs[conn])
        view_of(&tcp.tcbs[conn], &tcp.colds[conn], &record.view)
        publish(trace)
