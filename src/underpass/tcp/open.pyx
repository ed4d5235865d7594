"""Opening connections."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from underpass.ip.network cimport NO_NEIGHBOUR, network_fixed_headers, network_next_hop, network_path_mtu
from underpass.ip.template cimport template_make
from underpass.link.frames cimport TX_HEADROOM
from underpass.tcp.block cimport block_take, block_touch
from underpass.tcp.congestion.control cimport congestion_begin, congestion_initial_window
from underpass.tcp.demux cimport demux_insert
from underpass.tcp.ecn cimport ecn_take_syn
from underpass.tcp.isn cimport isn_choose, isn_timestamp_offset
from underpass.tcp.keepalive cimport keepalive_arm
from underpass.tcp.output cimport SENT_NO_NEIGHBOUR, output_syn
from underpass.tcp.preset cimport QUICK_ACKS, preset_begin
from underpass.tcp.rtt cimport RTO_INITIAL_US, rtt_init, rtt_sample, rtt_syn_lost, rtt_timeout_ns
from underpass.tcp.scoreboard cimport scoreboard_init
from underpass.tcp.tcb cimport (
    CONN_SACK, CONN_TIMESTAMPS, CONN_WINDOW_SCALE, ESTABLISHED, NO_CONN, Preset, Tcb, TcbCold, Tcp,
)
from underpass.tcp.trace cimport trace_born
from underpass.tcp.window cimport window_scale_for
from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.segment cimport (
    OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE, SYN, Segment,
)

cdef enum:
    DEFAULT_MSS_V4 = 536            # RFC 9293 3.7.1
    DEFAULT_MSS_V6 = 1220
    LEAST_MSS = 64                  # a smaller one is an attack on our packet rate; 52 octets beside timestamps
    TIMESTAMPS_PADDED = 12
    RESOLVE_RETRY_NS = 2000000      # how soon to look again whether the next hop has a MAC


cdef inline uint32_t path_mss(const Tcp *tcp, const Address *remote) noexcept nogil:
    """Payload of a segment that fills an IP packet on the path, or a frame, or the limit where that is smaller."""
    cdef uint32_t mss = network_path_mtu(tcp.network, remote, tcp.now_ns) - network_fixed_headers(remote)
    cdef uint32_t chunk = tcp.pool.state.chunk_bytes - TX_HEADROOM
    return min(mss, chunk, tcp.state.limits.mss)


cdef uint32_t open_block(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                         uint16_t remote_port, uint16_t vlan, uint32_t hash, const Preset *preset) noexcept nogil:
    cdef uint32_t conn = block_take(tcp)
    cdef Tcb *tcb
    cdef TcbCold *cold
    if conn == NO_CONN:
        tcp.state.counters.connection_limit += 1
        return NO_CONN
    tcb = &tcp.tcbs[conn]
    cold = &tcp.colds[conn]
    tcb.local = local[0]
    tcb.remote = remote[0]
    tcb.local_port = local_port
    tcb.remote_port = remote_port
    tcb.hash = hash
    tcb.neighbour = network_next_hop(tcp.network, remote, tcp.now_ns)
    if tcb.neighbour == NO_NEIGHBOUR:
        tcp.state.counters.unroutable += 1
    template_make(&cold.template, tcp.network, local, remote, vlan)
    cold.vlan = vlan
    tcb.rcv_scale = window_scale_for(tcp.state.limits.rcv_bytes)        # for the largest that the window may become
    cold.iss = isn_choose(tcp, tcb)
    cold.ts_offset = isn_timestamp_offset(tcp, tcb)
    cold.opened_ns = cold.heard_ns = tcp.now_ns
    cold.quick_acks = QUICK_ACKS
    tcb.snd_una = cold.iss
    tcb.snd_nxt = tcb.snd_end = cold.iss + 1
    tcb.ssthresh = 0xFFFFFFFF
    tcb.mss = <uint16_t>path_mss(tcp, remote)
    preset_begin(tcp, conn, preset)
    cold.peer_mss = tcb.mss
    rtt_init(tcb, cold)
    scoreboard_init(tcb, cold)
    demux_insert(tcp, hash, conn + 1)
    if tcp.trace != NULL:
        trace_born(tcp, conn)
    return conn


cdef void open_take_syn(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef bint v4 = address_is_v4(&tcb.remote)
    cdef uint32_t ours = tcb.mss
    cdef uint32_t mss = syn.mss if syn.options & OPTION_MSS else (DEFAULT_MSS_V4 if v4 else DEFAULT_MSS_V6)
    cold.irs = syn.seq
    tcb.rcv_nxt = syn.seq + 1
    tcb.rcv_adv = tcb.rcv_acked = tcb.rcv_nxt
    cold.syn_options = syn.options
    if mss < LEAST_MSS:
        mss = LEAST_MSS
    cold.peer_mss = <uint16_t>mss
    if mss > ours:
        mss = ours
    if syn.options & OPTION_TIMESTAMPS:
        tcb.flags |= CONN_TIMESTAMPS
        tcb.ts_recent = syn.ts_val
        mss -= TIMESTAMPS_PADDED            # RFC 6691: options come out of the segment
    ecn_take_syn(tcp, conn, syn)
    if syn.options & OPTION_SACK_PERMITTED:
        tcb.flags |= CONN_SACK
    if syn.options & OPTION_WINDOW_SCALE:
        tcb.flags |= CONN_WINDOW_SCALE
        tcb.snd_scale = syn.window_scale
    else:
        tcb.rcv_scale = 0                   # RFC 7323 1.3: both sides or neither
    tcb.mss = <uint16_t>mss


cdef void open_established(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    tcb.state = ESTABLISHED
    tcb.snd_una = seg.ack
    # RFC 7323 2.2: only the window of a SYN is not scaled.
    tcb.snd_wnd = <uint32_t>seg.window << (0 if seg.flags & SYN else tcb.snd_scale)
    cold.snd_wnd_max = tcb.snd_wnd
    tcb.snd_wl1 = seg.seq
    tcb.snd_wl2 = seg.ack
    tcb.retransmit_at = 0
    if cold.backoff == 0 and cold.since_ns != 0:
        rtt_sample(tcb, cold, <uint32_t>((tcp.now_ns - cold.since_ns) // 1000), tcp.state.limits.rto_min_us)
    tcb.cwnd = congestion_initial_window(tcb.mss)
    if cold.backoff != 0:
        tcb.cwnd = tcb.mss                  # RFC 5681 3.1: the SYN or its answer was lost
        rtt_syn_lost(tcb, cold)
    cold.backoff = 0
    cold.since_ns = 0
    congestion_begin(tcp, conn, tcb.congestion)
    cold.rcv_space_seq = tcb.rcv_nxt
    cold.heard_ns = tcp.now_ns
    keepalive_arm(tcp, conn)
    block_touch(tcp, conn)


cdef void open_send_syn(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if cold.opened_ns == 0:
        cold.opened_ns = tcp.now_ns         # opened before the first turn, when there was no time yet
    if output_syn(tcp, conn) == SENT_NO_NEIGHBOUR and cold.backoff == 0 and \
            tcp.now_ns - cold.opened_ns < <uint64_t>RTO_INITIAL_US * 1000:
        tcb.retransmit_at = tcp.now_ns + RESOLVE_RETRY_NS
    else:
        if cold.since_ns == 0:
            cold.since_ns = tcp.now_ns
        tcb.retransmit_at = tcp.now_ns + rtt_timeout_ns(cold)
    block_touch(tcp, conn)
