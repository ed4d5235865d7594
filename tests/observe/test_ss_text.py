"""The lines of `underpass ss`, letter by letter."""

from typing import Any

import pytest

from underpass.observe.ss_text import Show, endpoint, lines, milliseconds

LISTEN: dict[str, Any] = {
    "pid": 42, "interface": "eth0", "state": "LISTEN", "local": "0.0.0.0", "local_port": 80, "family": 4,
    "half_open": 3, "backlog": 1024, "congestion": "cubic", "process": "underpass", "uid": 0,
}
CONNECTION: dict[str, Any] = {
    "pid": 42, "interface": "eth0", "process": "underpass", "uid": 1000, "index": 7, "generation": 3,
    "state": "ESTABLISHED", "local": "10.0.0.2", "local_port": 80, "remote": "10.0.0.1",
    "remote_port": 40000, "orphan": 0, "congestion": "cubic", "mss": 1448, "peer_mss": 1460,
    "snd_scale": 7, "rcv_scale": 8, "timestamps": 1, "sack": 1, "ecn": 0, "window_scaling": 1,
    "rtt_us": 1250, "rttvar_us": 500, "rtt_min_us": 1100, "rto_us": 201000, "backoff": 1, "probes": 0,
    "timer": "on", "timer_ms": 204, "recovery": "loss", "cwnd_bytes": 14480, "ssthresh_bytes": 10136,
    "flight_bytes": 2896, "pipe_bytes": 2896, "sacked_bytes": 1448, "lost_bytes": 1448,
    "retransmitted_bytes": 1448, "resent_bytes": 1448, "snd_wnd_bytes": 65536, "rcv_wnd_bytes": 131072,
    "unsent_bytes": 100, "unread_bytes": 12, "out_of_order_bytes": 0, "rcv_buffer_bytes": 131072,
    "rcv_frames": 1, "snd_frames": 3, "snd_buffer_frames": 64, "bytes_sent": 10000, "bytes_acked": 5656,
    "bytes_received": 500, "segments_sent": 9, "segments_received": 6, "data_segments_sent": 8,
    "data_segments_received": 1, "retransmits": 1, "timeouts": 1, "age_ms": 5000, "silent_ms": 12,
    "rcv_rtt_ms": 0, "pacing_rate_bps": 0, "soft_error": 0, "delivery_rate_bps": 0,
}
V6 = CONNECTION | {"local": "fe80::2", "remote": "fe80::1", "timer": "", "state": "SYN-RECEIVED"}
WAIT: dict[str, Any] = {
    "pid": 42, "interface": "eth0", "process": "underpass", "uid": 0, "state": "TIME-WAIT",
    "local": "fd00::2", "local_port": 443, "remote": "fd00::1", "remote_port": 5000, "timer": "timewait",
    "timer_ms": 59_400,
}


def text(rows: list[dict[str, Any]], **show: bool) -> str:
    return "\n".join(lines(rows, Show(**show)))


def test_columns() -> None:
    assert text([LISTEN, CONNECTION, V6, WAIT], numeric=True) == """\
State     Recv-Q Send-Q  Local Address:Port   Peer Address:Port  Process
LISTEN    3      1024          0.0.0.0:80          0.0.0.0:*
ESTAB     12     2996         10.0.0.2:80         10.0.0.1:40000
SYN-RECV  12     2996   [fe80::2]%eth0:80   [fe80::1]%eth0:40000
TIME-WAIT 0      0           [fd00::2]:443       [fd00::1]:5000"""


def test_nothing_but_the_header_and_without_it_nothing() -> None:
    assert text([]) == "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process"
    assert text([], header=False) == ""


def test_everything() -> None:
    shown = text([CONNECTION], numeric=True, processes=True, extended=True, memory=True, info=True,
                 header=False)
    assert shown == """\
ESTAB 12 2996 10.0.0.2:80 10.0.0.1:40000 users:(("underpass",pid=42)) timer:(on,204ms,1) uid:1000 sk:7.3
\t frames:(r1,t3,tb64) bytes:(r12,rb131072,o0) ts sack cubic wscale:7,8 rto:402 backoff:1 rtt:1.25/0.5 \
mss:1448 cwnd:10 ssthresh:7 bytes_sent:10000 bytes_retrans:1448 bytes_acked:5656 bytes_received:500 \
segs_out:9 segs_in:6 data_segs_out:8 data_segs_in:1 send 92672000bps lastrcv:12 unacked:2 retrans:1/1 \
lost:1 sacked:1 rcv_space:131072 notsent:100 minrtt:1.1 snd_wnd:65536 rcv_wnd:131072"""


def test_one_line_and_units() -> None:
    paced = CONNECTION | {"congestion": "bbr", "pacing_rate_bps": 2_500_000_000, "delivery_rate_bps": 999,
                          "bbr_bw_bps": 1_234_000, "bbr_min_rtt_us": 1100, "bbr_pacing_gain": 2.77,
                          "bbr_cwnd_gain": None, "ssthresh_bytes": 0xFFFFFFFF}
    shown = text([paced], info=True, one_line=True, header=False)
    assert shown.count("\n") == 0
    assert "bbr:(bw:1.2Mbps,mrtt:1.1,pacing_gain:2.77) send 92.7Mbps lastrcv:12 " in shown
    assert "pacing_rate 2.5Gbps delivery_rate 999bps" in shown
    assert "ssthresh" not in shown
    assert shown.startswith("ESTAB 12 2996 10.0.0.2:http 10.0.0.1:40000 ts sack bbr ")


def test_what_a_listener_and_a_time_wait_entry_have_to_say() -> None:
    shown = text([LISTEN, WAIT], numeric=True, extended=True, memory=True, info=True, header=False)
    assert shown.splitlines() == [
        "LISTEN    3 1024   0.0.0.0:80    0.0.0.0:*    uid:0", "\t cubic",
        "TIME-WAIT 0 0    [fd00::2]:443 [fd00::1]:5000 timer:(timewait,59sec,0) uid:0"]


@pytest.mark.parametrize(("row", "local", "peer"), [
    ({"family": 6, "local": "::"}, "[::]", "[::]"), ({"family": 0, "local": "0.0.0.0"}, "*", "*"),
    ({"family": 6, "local": "fe80::2"}, "[fe80::2]%eth0", "[::]"),
    ({"family": 4, "local": "169.254.0.1"}, "169.254.0.1", "0.0.0.0"),
])
def test_a_listener_s_addresses(row: dict[str, Any], local: str, peer: str) -> None:
    assert endpoint(LISTEN | row, "local") == (local, "80")
    assert endpoint(LISTEN | row, "remote") == (peer, "*")


@pytest.mark.parametrize(("ms", "shown"), [
    (0, "000ms"), (4, "004ms"), (204, "204ms"), (1000, "1sec"), (1200, "1.200ms"), (12_345, "12sec"),
    (60_000, "1min"), (90_500, "1min30sec"), (600_000, "10min"), (7_199_000, "119min"),
])
def test_timers_read_as_those_of_ss(ms: int, shown: str) -> None:
    assert milliseconds(ms) == shown
