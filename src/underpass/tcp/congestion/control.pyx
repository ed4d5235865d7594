"""The table of congestion controls."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset, strcmp

from underpass.tcp.congestion.bbr cimport (
    bbr_acked, bbr_frame_lost, bbr_lost, bbr_marked, bbr_restarted, bbr_sampled, bbr_start, bbr_timed_out, bbr_undo,
)
from underpass.tcp.congestion.cubic cimport cubic_acked, cubic_lost, cubic_timed_out, cubic_undo
from underpass.tcp.congestion.dctcp cimport dctcp_echoed, dctcp_marked, dctcp_start
from underpass.tcp.congestion.newreno cimport newreno_acked, newreno_lost, newreno_timed_out
from underpass.tcp.ecn cimport ecn_reduced
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.rate cimport rate_start
from underpass.tcp.tcb cimport CONN_RARE, Tcb, Tcp
from underpass.tcp.traits cimport (
    TRAIT_CWR, TRAIT_ECN, TRAIT_EXACT_ECN, TRAIT_PACED, TRAIT_RATE, TRAIT_UNDO,
)

cdef Congestion[4] controls         # CONGESTION_CONTROLS

controls[CONGESTION_NEWRENO] = Congestion(
    name=b"reno", traits=0, start=NULL, acked=newreno_acked, lost=newreno_lost, timed_out=newreno_timed_out,
    undo=NULL, marked=NULL, echoed=NULL, sampled=NULL, frame_lost=NULL, restarted=NULL)
controls[CONGESTION_CUBIC] = Congestion(
    name=b"cubic", traits=0, start=NULL, acked=cubic_acked, lost=cubic_lost, timed_out=cubic_timed_out,
    undo=cubic_undo, marked=NULL, echoed=NULL, sampled=NULL, frame_lost=NULL, restarted=NULL)
controls[CONGESTION_DCTCP] = Congestion(
    name=b"dctcp", traits=TRAIT_EXACT_ECN, start=dctcp_start, acked=newreno_acked, lost=newreno_lost,
    timed_out=newreno_timed_out, undo=NULL, marked=dctcp_marked, echoed=dctcp_echoed,
    sampled=NULL, frame_lost=NULL, restarted=NULL)
controls[CONGESTION_BBR] = Congestion(
    name=b"bbr", traits=TRAIT_RATE | TRAIT_PACED, start=bbr_start, acked=bbr_acked, lost=bbr_lost,
    timed_out=bbr_timed_out, undo=bbr_undo, marked=bbr_marked, echoed=NULL, sampled=bbr_sampled,
    frame_lost=bbr_frame_lost, restarted=bbr_restarted)


cdef const Congestion *congestion_control(uint32_t which) noexcept nogil:
    return &controls[which if which < CONGESTION_CONTROLS else CONGESTION_NEWRENO]


cdef void congestion_begin(Tcp *tcp, uint32_t conn, uint32_t which) noexcept nogil:
    cdef const Congestion *control = congestion_control(which)
    cdef TcbRare *rare
    tcp.tcbs[conn].congestion = <uint8_t>which
    if tcp.tcbs[conn].flags & CONN_RARE:
        rare = rare_of(tcp, conn)
        memset(rare.congestion_state, 0, sizeof(rare.congestion_state))
    _take_traits(tcp, conn, control.traits)
    if control.start != NULL:
        control.start(tcp, conn)


cdef void _take_traits(Tcp *tcp, uint32_t conn, uint32_t traits) noexcept nogil:
    """What the control wants, and pacing where the application limits the rate."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_RARE and rare_of(tcp, conn).pacing_limit != 0:
        traits |= TRAIT_PACED
    # What the control before it has answered, and how, is not this one's: BBR leaves ssthresh alone.
    tcb.traits = (tcb.traits & ~<uint32_t>(TRAIT_EXACT_ECN | TRAIT_RATE | TRAIT_PACED | TRAIT_CWR)) | traits
    tcb.pace_at = 0
    if traits & TRAIT_PACED:
        rare_of(tcp, conn).pacing_rate = rare_of(tcp, conn).pacing_limit
    if traits & TRAIT_RATE:
        rate_start(tcp, conn)


cdef void congestion_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    """RFC 3168 6.1.2: a window of data that told of congestion by marks already is not told of again by losses."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not tcb.traits & TRAIT_CWR:
        congestion_control(tcb.congestion).lost(tcp, conn, flight)
    if tcb.traits & TRAIT_ECN:
        ecn_reduced(tcp, conn)


cdef void congestion_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    congestion_control(tcp.tcbs[conn].congestion).timed_out(tcp, conn, flight)
    if tcp.tcbs[conn].traits & TRAIT_ECN:
        ecn_reduced(tcp, conn)


cdef void congestion_marked(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const Congestion *control = congestion_control(tcb.congestion)
    if control.marked != NULL:
        control.marked(tcp, conn, flight)
    else:
        control.lost(tcp, conn, flight)
    tcb.traits &= ~<uint32_t>TRAIT_UNDO     # marks are no mistake
    ecn_reduced(tcp, conn)


cdef uint32_t congestion_named(const char *name) noexcept nogil:
    cdef uint32_t which
    if strcmp(name, b"newreno") == 0:
        return CONGESTION_NEWRENO
    for which in range(CONGESTION_CONTROLS):
        if strcmp(name, controls[which].name) == 0:
            return which
    return CONGESTION_CONTROLS

