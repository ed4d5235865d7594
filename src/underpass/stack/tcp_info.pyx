"""TCP_INFO as Linux lays it out: what this stack does not count is 0."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.output cimport output_announced_mss
from underpass.tcp.path cimport path_mtu
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.rtt cimport rtt_timeout_ns
from underpass.tcp.tcb cimport (
    CONN_FAST_RECOVERY, CONN_PERSISTING, CONN_RARE, CONN_RTO_RECOVERY, CONN_SACK, CONN_TIMESTAMPS, CONN_WINDOW_SCALE, LISTEN,
    Listener, Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport TRAIT_CWR, TRAIT_ECN, TRAIT_PACED, TRAIT_RATE, TRAIT_REORDERING_SEEN
from underpass.tcp.validation cimport SENT_TICK_SHIFT
from underpass.wire.tcp cimport TIMESTAMPS_BYTES

cdef enum:
    TCPI_OPT_TIMESTAMPS = 1
    TCPI_OPT_SACK = 2
    TCPI_OPT_WSCALE = 4
    TCPI_OPT_ECN = 8
    TCP_CA_OPEN = 0
    TCP_CA_DISORDER = 1
    TCP_CA_CWR = 2
    TCP_CA_RECOVERY = 3
    TCP_CA_LOSS = 4
    REORDERING = 3                  # RFC 5681 3.2: segments behind a hole before it counts as loss, until RACK knows better
    INFINITE_SSTHRESH = 0x7FFFFFFF  # Linux: TCP_INFINITE_SSTHRESH
    UNKNOWN = 0xFFFFFFFF

cdef uint64_t UNLIMITED = 0xFFFFFFFFFFFFFFFF

cdef struct TcpInfo:                # include/uapi/linux/tcp.h
    uint8_t state
    uint8_t ca_state
    uint8_t retransmits
    uint8_t probes
    uint8_t backoff
    uint8_t options
    uint8_t scales                  # snd_wscale in the lower four bits, rcv_wscale in the upper
    uint8_t bits
    uint32_t rto
    uint32_t ato
    uint32_t snd_mss
    uint32_t rcv_mss
    uint32_t unacked
    uint32_t sacked
    uint32_t lost
    uint32_t retrans
    uint32_t fackets
    uint32_t last_data_sent
    uint32_t last_ack_sent
    uint32_t last_data_recv
    uint32_t last_ack_recv
    uint32_t pmtu
    uint32_t rcv_ssthresh
    uint32_t rtt
    uint32_t rttvar
    uint32_t snd_ssthresh
    uint32_t snd_cwnd
    uint32_t advmss
    uint32_t reordering
    uint32_t rcv_rtt
    uint32_t rcv_space
    uint32_t total_retrans
    uint64_t pacing_rate
    uint64_t max_pacing_rate
    uint64_t bytes_acked
    uint64_t bytes_received
    uint32_t segs_out
    uint32_t segs_in
    uint32_t notsent_bytes
    uint32_t min_rtt
    uint32_t data_segs_in
    uint32_t data_segs_out
    uint64_t delivery_rate
    uint64_t busy_time
    uint64_t rwnd_limited
    uint64_t sndbuf_limited
    uint32_t delivered
    uint32_t delivered_ce
    uint64_t bytes_sent
    uint64_t bytes_retrans
    uint32_t dsack_dups
    uint32_t reord_seen
    uint32_t rcv_ooopack
    uint32_t snd_wnd
    uint32_t rcv_wnd
    uint32_t rehash
    uint16_t total_rto
    uint16_t total_rto_recoveries
    uint32_t total_rto_time

# Linux' numbers of the states of tcp/tcb.pxd: include/net/tcp_states.h
cdef uint8_t[11] STATES = [7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6]


cdef inline uint32_t segments(const Tcb *tcb, uint64_t octets) noexcept nogil:
    return <uint32_t>((octets + tcb.mss - 1) // tcb.mss) if tcb.mss else 0


cdef uint8_t options(const Tcb *tcb) noexcept nogil:
    cdef uint8_t agreed = TCPI_OPT_TIMESTAMPS if tcb.flags & CONN_TIMESTAMPS else 0
    if tcb.flags & CONN_SACK:
        agreed |= TCPI_OPT_SACK
    if tcb.flags & CONN_WINDOW_SCALE:
        agreed |= TCPI_OPT_WSCALE
    if tcb.traits & TRAIT_ECN:
        agreed |= TCPI_OPT_ECN
    return agreed


cdef uint8_t tcp_info_phase(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    if tcb.flags & CONN_RTO_RECOVERY:
        return TCP_CA_LOSS
    if tcb.flags & CONN_FAST_RECOVERY:
        return TCP_CA_RECOVERY
    if tcb.traits & TRAIT_CWR:
        return TCP_CA_CWR
    return TCP_CA_DISORDER if tcb.sacked_bytes or cold.dupacks else TCP_CA_OPEN


cdef uint64_t tcp_info_resent(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """What was sent less what there was to send."""
    cdef uint64_t once = cold.bytes_acked + (tcb.snd_nxt - tcb.snd_una)
    return cold.bytes_sent - once if cold.bytes_sent > once else 0


# ---------------------------------------------------------------------------------------------- groups of fields

cdef void agreed(Tcp *tcp, uint32_t conn, TcpInfo *info) noexcept nogil:
    """What the handshake agreed on, and sizes."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    info.state = STATES[tcb.state]
    info.options = options(tcb)
    info.scales = tcb.snd_scale | <uint8_t>(tcb.rcv_scale << 4)
    info.snd_mss = tcb.mss
    info.rcv_mss = min(<uint32_t>tcb.mss, <uint32_t>cold.peer_mss)
    info.advmss = output_announced_mss(tcp, conn) - (TIMESTAMPS_BYTES if tcb.flags & CONN_TIMESTAMPS else 0)
    info.pmtu = path_mtu(tcp, conn)


cdef void receiving(const Tcp *tcp, uint32_t conn, TcpInfo *info) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    info.ato = tcp.state.limits.delayed_ack_us
    info.rcv_space = tcb.rcv_limit
    info.rcv_ssthresh = tcb.rcv_limit
    info.rcv_wnd = tcb.rcv_adv - tcb.rcv_nxt
    if tcb.flags & CONN_RARE:
        info.rcv_rtt = (<const TcbRare *>tcp.rares + conn).rcv_rtt_ms * 1000
    # When payload came is not kept apart from when anything did.
    info.last_data_recv = info.last_ack_recv = <uint32_t>((tcp.now_ns - cold.heard_ns) // 1000000)
    info.bytes_received = cold.bytes_received
    info.segs_in = cold.segments_received
    info.data_segs_in = cold.data_received


cdef void sending(const Tcp *tcp, uint32_t conn, TcpInfo *info) noexcept nogil:
    """The send queue and what became of it, in segments where Linux counts so."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t tick = <uint32_t>(tcp.now_ns >> SENT_TICK_SHIFT)
    info.unacked = segments(tcb, tcb.snd_nxt - tcb.snd_una)
    info.sacked = segments(tcb, tcb.sacked_bytes)
    info.lost = segments(tcb, tcb.lost_bytes)
    info.retrans = segments(tcb, tcb.retransmitted_bytes)
    info.notsent_bytes = tcb.snd_end - tcb.snd_nxt if tcb.snd_unsent != NO_FRAME else 0
    if cold.data_sent:
        info.last_data_sent = <uint32_t>((<uint64_t>(tick - tcb.sent_tick) << SENT_TICK_SHIFT) // 1000000)
    info.snd_wnd = tcb.snd_wnd
    info.bytes_acked = cold.bytes_acked
    info.bytes_sent = cold.bytes_sent
    info.bytes_retrans = tcp_info_resent(tcb, cold)
    info.segs_out = cold.segments_sent
    info.data_segs_out = cold.data_sent
    info.total_retrans = cold.retransmits
    info.delivered = segments(tcb, cold.bytes_acked + tcb.sacked_bytes)
    info.total_rto = <uint16_t>min(cold.timeouts, <uint32_t>0xFFFF)


cdef void controlling(const Tcp *tcp, uint32_t conn, TcpInfo *info) noexcept nogil:
    """The round trip, the timer, loss recovery and congestion control."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    info.ca_state = tcp_info_phase(tcb, cold)
    info.retransmits = 0 if tcb.flags & CONN_PERSISTING else cold.backoff
    info.probes = cold.backoff if tcb.flags & CONN_PERSISTING else cold.probes
    info.backoff = cold.backoff
    info.rto = <uint32_t>(rtt_timeout_ns(cold) // 1000)
    info.rtt = tcb.srtt_us >> 3
    info.rttvar = tcb.rttvar_us >> 2
    info.min_rtt = cold.rtt_min_us if cold.rtt_min_us else UNKNOWN
    info.snd_ssthresh = INFINITE_SSTHRESH
    if tcb.ssthresh != UNKNOWN and tcb.mss:
        info.snd_ssthresh = tcb.ssthresh // tcb.mss
    info.snd_cwnd = max(segments(tcb, tcb.cwnd), <uint32_t>1)
    info.reordering = REORDERING
    info.reord_seen = tcb.traits & TRAIT_REORDERING_SEEN != 0
    info.pacing_rate = info.max_pacing_rate = UNLIMITED
    if tcb.flags & CONN_RARE:
        pacing(tcb, <const TcbRare *>tcp.rares + conn, info)
    if tcb.traits & TRAIT_RATE:
        info.delivery_rate = (<const Rate *>tcp.rates + conn).latest


cdef inline void pacing(const Tcb *tcb, const TcbRare *rare, TcpInfo *info) noexcept nogil:
    if tcb.traits & TRAIT_PACED and rare.pacing_rate:
        info.pacing_rate = rare.pacing_rate
    if rare.pacing_limit:
        info.max_pacing_rate = rare.pacing_limit


# ---------------------------------------------------------------------------------------------- the structure

cdef bytes tcp_info_octets(Tcp *tcp, uint32_t conn):
    cdef TcpInfo info
    memset(&info, 0, sizeof(TcpInfo))
    agreed(tcp, conn, &info)
    receiving(tcp, conn, &info)
    sending(tcp, conn, &info)
    controlling(tcp, conn, &info)
    return (<const char *>&info)[:sizeof(TcpInfo)]


cdef bytes tcp_info_listener(const Listener *listener):
    cdef TcpInfo info
    memset(&info, 0, sizeof(TcpInfo))
    info.state = STATES[<uint32_t>LISTEN]
    info.unacked = listener.half_open
    info.sacked = listener.backlog
    return (<const char *>&info)[:sizeof(TcpInfo)]
