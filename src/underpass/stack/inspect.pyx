"""Looking at connections from Python."""
from libc.math cimport isfinite
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.stack.tcp_info cimport tcp_info_phase, tcp_info_resent
from underpass.tcp.congestion.bbr cimport BBR_NO_LIMIT, Bbr, BbrBounds
from underpass.tcp.congestion.control cimport congestion_control
from underpass.tcp.path cimport path_mtu
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ORPHAN, CONN_PERSISTING, CONN_RARE, CONN_SACK, CONN_TIMESTAMPS, CONN_WINDOW_SCALE, FIN_WAIT_2,
    MAX_LISTENERS, TIME_WAIT, Listener, Tcb, TcbCold, Tcp, TimeWait,
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


cdef inline object named(tuple names, uint32_t which):
    """The name of a number that may be none of them."""
    return names[which] if which < <uint32_t>len(names) else "?"


cdef inline uint64_t ms_between(uint64_t earlier_ns, uint64_t later_ns) noexcept nogil:
    return (later_ns - earlier_ns) // 1000000 if later_ns > earlier_ns else 0


cdef object or_none(uint64_t value, uint64_t none):
    return value if value != none else None


cdef object finite(double value):
    return value if isfinite(value) else None


cdef dict bbr_info(const Bbr *bbr):
    """The model, as `ss -i` tells it; None where a bound is none."""
    cdef const BbrBounds *bounds = &bbr.bounds
    return {
        "bbr_phase": named(BBR_PHASES, bbr.phase),
        "bbr_bw_bps": bbr.bw * 8,
        "bbr_max_bw_bps": bbr.max_bw * 8,
        "bbr_min_rtt_us": bbr.min_rtt_us,
        "bbr_inflight_longterm_bytes": or_none(bounds.inflight_longterm, <uint32_t>BBR_NO_LIMIT),
        "bbr_inflight_shortterm_bytes": or_none(bounds.inflight_shortterm, <uint32_t>BBR_NO_LIMIT),
        "bbr_pacing_gain": finite(bbr.pacing_gain),
        "bbr_cwnd_gain": finite(bbr.cwnd_gain),
        "bbr_extra_acked_bytes": max(bbr.extra_acked[0], bbr.extra_acked[1]),
    }


cdef tuple timer(const Tcb *tcb):
    """What the connection waits for, by the names of `ss -o`, and until when; ("", 0): for nothing."""
    if tcb.retransmit_at:
        return "persist" if tcb.flags & CONN_PERSISTING else "on", tcb.retransmit_at
    if tcb.linger_at:
        return "timewait" if tcb.state == FIN_WAIT_2 else "keepalive", tcb.linger_at
    return "", 0


cdef dict rare_info(const Tcb *tcb, const TcbRare *rare):
    """What only some connections have: 0 in the others."""
    return {
        "rcv_rtt_ms": rare.rcv_rtt_ms if tcb.flags & CONN_RARE else 0,
        "pacing_rate_bps": rare.pacing_rate * 8 if tcb.traits & TRAIT_PACED else 0,
        "soft_error": rare.soft_error if tcb.traits & TRAIT_SOFT_ERROR else 0,
    }


cdef dict agreed_info(const Tcb *tcb, const TcbCold *cold):
    """What the handshake agreed on, and the control that was chosen."""
    return {
        "congestion": congestion_control(tcb.congestion).name.decode(),
        "mss": tcb.mss,
        "peer_mss": cold.peer_mss,
        "snd_scale": tcb.snd_scale,
        "rcv_scale": tcb.rcv_scale,
        "timestamps": int((tcb.flags & CONN_TIMESTAMPS) != 0),
        "sack": int((tcb.flags & CONN_SACK) != 0),
        "ecn": int((tcb.traits & TRAIT_ECN) != 0),
        "window_scaling": int((tcb.flags & CONN_WINDOW_SCALE) != 0),
    }


cdef dict recovery_info(const Tcb *tcb, const TcbCold *cold, uint64_t now_ns):
    """Round trip, window, and what is in flight or lost."""
    cdef tuple waits = timer(tcb)
    return {
        "rtt_us": tcb.srtt_us >> 3,
        "rttvar_us": tcb.rttvar_us >> 2,
        "rtt_min_us": cold.rtt_min_us,
        "rto_us": cold.rto_us,
        "backoff": cold.backoff,
        "probes": cold.backoff if tcb.flags & CONN_PERSISTING else cold.probes,
        "timer": waits[0],
        "timer_ms": ms_between(now_ns, waits[1]),
        "recovery": PHASES[tcp_info_phase(tcb, cold)],
        "cwnd_bytes": tcb.cwnd,
        "ssthresh_bytes": tcb.ssthresh,
        "flight_bytes": <uint32_t>(tcb.snd_nxt - tcb.snd_una),
        "pipe_bytes": scoreboard_pipe(tcb, cold),
        "sacked_bytes": tcb.sacked_bytes,
        "lost_bytes": tcb.lost_bytes,
        "retransmitted_bytes": tcb.retransmitted_bytes,
        "resent_bytes": tcp_info_resent(tcb, cold),
    }


cdef dict queue_info(const Tcb *tcb, const TcbCold *cold):
    """Windows, queues, and the frames in them."""
    return {
        "snd_wnd_bytes": tcb.snd_wnd,
        "rcv_wnd_bytes": <uint32_t>(tcb.rcv_adv - tcb.rcv_nxt),
        "unsent_bytes": <uint32_t>(tcb.snd_end - tcb.snd_nxt) if tcb.snd_unsent != 0xFFFFFFFF else 0,
        "unread_bytes": tcb.rcv_bytes,
        "out_of_order_bytes": tcb.ooo_bytes,
        "rcv_buffer_bytes": tcb.rcv_limit,
        "rcv_frames": tcb.rcv_frames,
        "snd_frames": tcb.snd_frames,
        "snd_buffer_frames": cold.snd_limit,
    }


cdef dict traffic_info(const TcbCold *cold, uint64_t now_ns):
    """What was sent and received since the connection began."""
    return {
        "bytes_sent": cold.bytes_sent,
        "bytes_acked": cold.bytes_acked,
        "bytes_received": cold.bytes_received,
        "segments_sent": cold.segments_sent,
        "segments_received": cold.segments_received,
        "data_segments_sent": cold.data_sent,
        "data_segments_received": cold.data_received,
        "retransmits": cold.retransmits,
        "timeouts": cold.timeouts,
        "age_ms": ms_between(cold.opened_ns, now_ns),
        "silent_ms": ms_between(cold.heard_ns, now_ns),
    }


cdef dict blocks_info(const Blocks *of):
    cdef const Tcb *tcb = of.tcb
    cdef dict info = {"state": named(STATES, tcb.state)}
    if tcb.traits & TRAIT_RATE:
        info |= bbr_info(<const Bbr *>of.rate.model)
    info |= agreed_info(tcb, of.cold)
    info |= recovery_info(tcb, of.cold, of.now_ns)
    info |= queue_info(tcb, of.cold)
    info |= traffic_info(of.cold, of.now_ns)
    info |= rare_info(tcb, of.rare)
    info["delivery_rate_bps"] = of.rate.latest * 8 if tcb.traits & TRAIT_RATE else 0
    return info


cdef dict blocks_row(const Blocks *of):
    cdef const Tcb *tcb = of.tcb
    return {"local": address_to_text(&tcb.local), "local_port": tcb.local_port,
            "remote": address_to_text(&tcb.remote), "remote_port": tcb.remote_port,
            "orphan": int((tcb.flags & CONN_ORPHAN) != 0)} | blocks_info(of)


cdef dict listener_row(const Listener *listener):
    return {"state": "LISTEN", "local": address_to_text(&listener.address), "local_port": listener.port,
            "family": listener.family, "half_open": listener.half_open, "backlog": listener.backlog,
            "congestion": congestion_control(listener.preset.congestion).name.decode(),
            "fast_open_pending": listener.fast_open_pending, "fast_open": listener.fast_open}


cdef dict time_wait_row(const TimeWait *wait, uint64_t now_ns):
    return {"state": "TIME-WAIT", "local": address_to_text(&wait.local), "local_port": wait.local_port,
            "remote": address_to_text(&wait.remote), "remote_port": wait.remote_port,
            "timer": "timewait", "timer_ms": ms_between(now_ns, wait.expires_ns)}


cdef inline Blocks blocks_of(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Blocks of
    of.tcb = &tcp.tcbs[conn]
    of.cold = &tcp.colds[conn]
    of.rare = <const TcbRare *>tcp.rares + conn
    of.rate = <const Rate *>tcp.rates + conn
    of.now_ns = tcp.now_ns
    return of


cdef dict connection_info(const Tcp *tcp, uint32_t conn):
    cdef Blocks of = blocks_of(tcp, conn)
    return blocks_info(&of) | {"path_mtu": path_mtu(tcp, conn)}


cdef list connection_rows(const Tcp *tcp):
    cdef list rows = []
    cdef Blocks of
    cdef uint32_t i
    for i in range(MAX_LISTENERS):
        if tcp.state.listeners[i].used:
            rows.append(listener_row(&tcp.state.listeners[i]))
    for i in range(tcp.state.tcb_fresh):
        of = blocks_of(tcp, i)
        if of.tcb.state != CLOSED and of.tcb.state != TIME_WAIT:     # its entry follows below
            rows.append(blocks_row(&of) | {"path_mtu": path_mtu(tcp, i)})
    i = tcp.state.time_wait_head
    while i != 0xFFFFFFFF:
        rows.append(time_wait_row(&tcp.time_waits[i], tcp.now_ns))
        i = tcp.time_waits[i].next
    return rows
