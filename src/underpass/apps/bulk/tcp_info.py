"""Linux's TCP_INFO by name (struct tcp_info of linux/tcp.h)."""

import socket
import struct

FIELDS = (
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "wscale", "delivery_flags",
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
    "last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt",
    "rttvar", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space",
    "total_retrans", "pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received", "segs_out",
    "segs_in", "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out", "delivery_rate",
    "busy_time", "rwnd_limited", "sndbuf_limited", "delivered", "delivered_ce", "bytes_sent",
    "bytes_retrans", "dsack_dups", "reord_seen",
)
LAYOUT = struct.Struct("=8B24I4Q6I4Q2I2Q2I")


def tcp_info(sock: socket.socket) -> dict[str, int]:
    """All fields up to `reord_seen` (Linux 4.19). Raises OSError for a socket that is none of TCP."""
    octets = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAYOUT.size)
    return dict(zip(FIELDS, LAYOUT.unpack(octets.ljust(LAYOUT.size, b"\0")), strict=True))
