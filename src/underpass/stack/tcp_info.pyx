"""TCP_INFO as Linux lays it out: what this stack does not count is 0."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.rtt cimport rtt_timeout_ns
from underpass.tcp.tcb cimport (
    CONN_FAST_RECOVERY, CONN_PERSISTING, CONN_RTO_RECOVERY, CONN_SACK, CONN_TIMESTAMPS, CONN_WINDOW_SCALE, LISTEN,
    NO_CONN, Tcb, TcbCold, Tcp,
)

cdef enum:
    TCPI_OPT_TIMESTAMPS = 1
    TCPI_OPT_SACK = 2
    TCPI_OPT_WSCALE = 4
    TCP_CA_RECOVERY = 3
    TCP_CA_LOSS = 4
    INFINITE_SSTHRESH = 0x7FFFFFFF  # Linux: TCP_INFINITE_SSTHRESH
    UNKNOWN = 0xFFFFFFFF

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


cdef inline uint32_t segments(const Tcb *tcb, uint32_t octets) noexcept nogil:
    return (octets + tcb.mss - 1) // tcb.mss if tcb.mss else 0


cdef void agreed(const Tcb *tcb, const TcbCold *cold, TcpInfo *info) noexcept nogil:
    """What the handshake agreed on, and sizes."""
    info.state = STATES[tcb.state]
    if tcb.flags & CONN_TIMESTAMPS:
        info.options |= TCPI_OPT_TIMESTAMPS
    if tcb.flags & CONN_SACK:
        info.options |= TCPI_OPT_SACK
    if tcb.flags & CONN_WINDOW_SCALE:
        info.options |= TCPI_OPT_WSCALE
    info.scales = tcb.snd_scale | <uint8_t>(tcb.rcv_scale << 4)
    info.snd_mss = tcb.mss
    info.rcv_mss = min(<uint32_t>tcb.mss, <uint32_t>cold.peer_mss)
    info.rcv_space = tcb.rcv_limit
    info.rcv_ssthresh = tcb.rcv_limit
    info.snd_wnd = tcb.snd_wnd
    info.rcv_wnd = tcb.rcv_adv - tcb.rcv_nxt


cdef void sending(const Tcb *tcb, const TcbCold *cold, TcpInfo *info) noexcept nogil:
    """The send queue, the round trip and the congestion control; windows in segments."""
    cdef uint32_t flight = tcb.snd_nxt - tcb.snd_una
    if tcb.flags & CONN_RTO_RECOVERY:
        info.ca_state = TCP_CA_LOSS
    elif tcb.flags & CONN_FAST_RECOVERY:
        info.ca_state = TCP_CA_RECOVERY
    info.retransmits = 0 if tcb.flags & CONN_PERSISTING else cold.backoff
    info.probes = cold.backoff if tcb.flags & CONN_PERSISTING else cold.probes
    info.backoff = cold.backoff
    info.rto = <uint32_t>(rtt_timeout_ns(cold) // 1000)
    info.unacked = segments(tcb, flight)
    info.sacked = segments(tcb, tcb.sacked_bytes)
    info.lost = segments(tcb, tcb.lost_bytes)
    info.retrans = segments(tcb, tcb.retransmitted_bytes)
    info.rtt = tcb.srtt_us >> 3
    info.rttvar = tcb.rttvar_us >> 2
    info.min_rtt = cold.rtt_min_us if cold.rtt_min_us else UNKNOWN
    info.snd_ssthresh = INFINITE_SSTHRESH
    if tcb.ssthresh != UNKNOWN and tcb.mss:
        info.snd_ssthresh = tcb.ssthresh // tcb.mss
    info.snd_cwnd = max(segments(tcb, tcb.cwnd), <uint32_t>1)
    info.reordering = 3
    info.notsent_bytes = tcb.snd_end - tcb.snd_nxt if tcb.snd_unsent != NO_FRAME else 0
    info.total_rto = <uint16_t>min(cold.timeouts, <uint32_t>0xFFFF)


cdef void counted(const Tcp *tcp, const TcbCold *cold, TcpInfo *info) noexcept nogil:
    cdef uint32_t silent_ms = <uint32_t>((tcp.now_ns - cold.heard_ns) // 1000000)
    info.last_data_recv = info.last_ack_recv = silent_ms
    info.total_retrans = cold.retransmits
    info.bytes_acked = cold.bytes_acked
    info.bytes_received = cold.bytes_received
    info.bytes_sent = cold.bytes_sent
    info.segs_out = <uint32_t>cold.segments_sent
    info.segs_in = <uint32_t>cold.segments_received
    info.max_pacing_rate = 0xFFFFFFFFFFFFFFFF


cdef bytes tcp_info_octets(Tcp *tcp, uint32_t conn):
    cdef TcpInfo info
    memset(&info, 0, sizeof(TcpInfo))
    if conn == NO_CONN:
        info.state = STATES[<uint32_t>LISTEN]
    else:
        agreed(&tcp.tcbs[conn], &tcp.colds[conn], &info)
        sending(&tcp.tcbs[conn], &tcp.colds[conn], &info)
        counted(tcp, &tcp.colds[conn], &info)
        info.advmss = tcp.network.mtu - (40 if tcp.colds[conn].template.length - tcp.colds[conn].template.ip_offset == 20
                                         else 60)
        info.pmtu = tcp.network.mtu
    return (<const char *>&info)[:sizeof(TcpInfo)]
