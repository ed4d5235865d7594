"""Looking at connections from Python."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.stack.tcp_info cimport tcp_info_phase, tcp_info_resent
from underpass.tcp.congestion.bbr cimport BBR_NO_LIMIT, Bbr, BbrBounds
from underpass.tcp.congestion.control cimport congestion_control
from underpass.tcp.path cimport path_mtu
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ORPHAN, CONN_PERSISTING, CONN_RARE, CONN_SACK, CONN_TIMESTAMPS, CONN_WINDOW_SCALE, MAX_LISTENERS,
    TIME_WAIT, Listener, Tcb, TcbCold, Tcp, TimeWait,
)
from underpass.tcp.traits cimport TRAIT_ECN, TRAIT_PACED, TRAIT_RATE, TRAIT_SOFT_ERROR
from underpass.wire.address cimport address_to_text

STATES = ("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
          "CLOSING", "LAST-ACK", "TIME-WAIT")
# By Linux' numbers of tcpi_ca_state.
PHASES = ("open", "disorder", "cwr", "recovery", "loss")

BBR_PHASES = ("startup", "drain", "down", "cruise", "refill", "up", "probe rtt")


cdef object state_name(uint8_t state):
    return STATES[state]


cdef uint64_t pacing_rate(const Tcp *tcp, uint32_t conn):
    """Octets a second, or 0."""
    if not tcp.tcbs[conn].traits & TRAIT_PACED:
        return 0
    return (<const TcbRare *>tcp.rares + conn).pacing_rate


cdef uint32_t receive_rtt_ms(const Tcp *tcp, uint32_t conn):
    """The round trip as the receiver measures it, or 0."""
    if not tcp.tcbs[conn].flags & CONN_RARE:
        return 0
    return (<const TcbRare *>tcp.rares + conn).rcv_rtt_ms


cdef int soft_error(const Tcp *tcp, uint32_t conn):
    """The errno of the latest ICMP error that did not end the connection, or 0."""
    if not tcp.tcbs[conn].traits & TRAIT_SOFT_ERROR:
        return 0
    return (<const TcbRare *>tcp.rares + conn).soft_error


cdef uint64_t delivery_rate(const Tcp *tcp, uint32_t conn):
    """Octets a second, where the congestion control samples them; or 0."""
    if not tcp.tcbs[conn].traits & TRAIT_RATE:
        return 0
    return (<const Rate *>tcp.rates + conn).latest


cdef object or_none(uint64_t value, uint64_t none):
    return value if value != none else None


cdef dict bbr_info(const Bbr *bbr):
    """The model, as `ss -i` tells it; None where a bound is none."""
    cdef const BbrBounds *bounds = &bbr.bounds
    return {
        "bbr_phase": BBR_PHASES[bbr.phase],
        "bbr_bw_bps": bbr.bw * 8,
        "bbr_max_bw_bps": bbr.max_bw * 8,
        "bbr_min_rtt_us": bbr.min_rtt_us,
        "bbr_inflight_longterm_bytes": or_none(bounds.inflight_longterm, <uint32_t>BBR_NO_LIMIT),
        "bbr_inflight_shortterm_bytes": or_none(bounds.inflight_shortterm, <uint32_t>BBR_NO_LIMIT),
        "bbr_pacing_gain": bbr.pacing_gain,
        "bbr_cwnd_gain": bbr.cwnd_gain,
        "bbr_extra_acked_bytes": max(bbr.extra_acked[0], bbr.extra_acked[1]),
    }


cdef dict connection_info(const Tcp *tcp, uint32_t conn):
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    cdef dict model = bbr_info(<const Bbr *>(<const Rate *>tcp.rates + conn).model) if tcb.traits & TRAIT_RATE else {}
    return model | {
        "state": STATES[tcb.state],
        "congestion": congestion_control(tcb.congestion).name.decode(),
        "rtt_us": tcb.srtt_us >> 3,
        "rttvar_us": tcb.rttvar_us >> 2,
        "rtt_min_us": cold.rtt_min_us,
        "rto_us": cold.rto_us,
        "backoff": cold.backoff,
        "probes": cold.backoff if tcb.flags & CONN_PERSISTING else cold.probes,
        "recovery": PHASES[tcp_info_phase(tcb, cold)],
        "mss": tcb.mss,
        "path_mtu": path_mtu(tcp, conn),
        "peer_mss": cold.peer_mss,
        "cwnd_bytes": tcb.cwnd,
        "ssthresh_bytes": tcb.ssthresh,
        "flight_bytes": tcb.snd_nxt - tcb.snd_una,
        "pipe_bytes": scoreboard_pipe(tcb, cold),
        "sacked_bytes": tcb.sacked_bytes,
        "lost_bytes": tcb.lost_bytes,
        "retransmitted_bytes": tcb.retransmitted_bytes,
        "resent_bytes": tcp_info_resent(tcb, cold),
        "snd_wnd_bytes": tcb.snd_wnd,
        "rcv_wnd_bytes": tcb.rcv_adv - tcb.rcv_nxt,
        "snd_scale": tcb.snd_scale,
        "rcv_scale": tcb.rcv_scale,
        "unsent_bytes": tcb.snd_end - tcb.snd_nxt if tcb.snd_unsent != 0xFFFFFFFF else 0,
        "unread_bytes": tcb.rcv_bytes,
        "rcv_buffer_bytes": tcb.rcv_limit,
        "rcv_rtt_ms": receive_rtt_ms(tcp, conn),
        "snd_buffer_frames": cold.snd_limit,
        "out_of_order_bytes": tcb.ooo_bytes,
        "timestamps": int((tcb.flags & CONN_TIMESTAMPS) != 0),
        "sack": int((tcb.flags & CONN_SACK) != 0),
        "ecn": int((tcb.traits & TRAIT_ECN) != 0),
        "pacing_rate_bps": pacing_rate(tcp, conn) * 8,
        "delivery_rate_bps": delivery_rate(tcp, conn) * 8,
        "window_scaling": int((tcb.flags & CONN_WINDOW_SCALE) != 0),
        "bytes_sent": cold.bytes_sent,
        "bytes_acked": cold.bytes_acked,
        "bytes_received": cold.bytes_received,
        "segments_sent": cold.segments_sent,
        "segments_received": cold.segments_received,
        "data_segments_sent": cold.data_sent,
        "data_segments_received": cold.data_received,
        "retransmits": cold.retransmits,
        "timeouts": cold.timeouts,
        "age_ms": (tcp.now_ns - cold.opened_ns) // 1000000,
        "silent_ms": (tcp.now_ns - cold.heard_ns) // 1000000,
        "soft_error": soft_error(tcp, conn),
    }


cdef list connection_rows(const Tcp *tcp):
    cdef list rows = []
    cdef const Tcb *tcb
    cdef const Listener *listener
    cdef const TimeWait *wait
    cdef uint32_t i
    for i in range(MAX_LISTENERS):
        listener = &tcp.state.listeners[i]
        if listener.used:
            rows.append({"state": "LISTEN", "local": address_to_text(&listener.address), "local_port": listener.port,
                         "half_open": listener.half_open, "backlog": listener.backlog,
                         "fast_open_pending": listener.fast_open_pending, "fast_open": listener.fast_open})
    for i in range(tcp.state.tcb_fresh):
        tcb = &tcp.tcbs[i]
        if tcb.state != CLOSED and tcb.state != TIME_WAIT:     # its entry follows below
            rows.append({"local": address_to_text(&tcb.local), "local_port": tcb.local_port,
                         "remote": address_to_text(&tcb.remote), "remote_port": tcb.remote_port,
                         "orphan": int((tcb.flags & CONN_ORPHAN) != 0)} | connection_info(tcp, i))
    i = tcp.state.time_wait_head
    while i != 0xFFFFFFFF:
        wait = &tcp.time_waits[i]
        rows.append({"state": "TIME-WAIT", "local": address_to_text(&wait.local), "local_port": wait.local_port,
                     "remote": address_to_text(&wait.remote), "remote_port": wait.remote_port})
        i = wait.next
    return rows
