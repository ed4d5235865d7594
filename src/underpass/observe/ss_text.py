"""Rows as ss(8) prints them: the columns, and behind or below them what -p, -o, -e, -m and -i ask for.

What Linux tells of a socket and this stack does not know is left out; what has another meaning here has
another name (`frames:` instead of `skmem:`). Recv-Q and Send-Q are octets: of a connection those not read by
the application, and those not acknowledged by the peer. Of a listener they are handshakes under way, and how
many there may be: no connection waits to be accepted, the application has it as soon as its handshake ends.
"""

import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

Row = Mapping[str, Any]

STATES = {"ESTABLISHED": "ESTAB", "SYN-RECEIVED": "SYN-RECV"}
HEAD = ("State", "Recv-Q", "Send-Q", "Local Address", "Port", "Peer Address", "Port", "Process")
RTO_MAX_US = 120_000_000            # tcp/rtt.pxd
INFINITE = 0xFFFFFFFF               # an SSTHRESH that was never set


@dataclass(frozen=True, slots=True)
class Show:
    """What to print besides the columns; `numeric`: ports and rates as numbers."""

    numeric: bool = False
    processes: bool = False
    timers: bool = False
    extended: bool = False
    memory: bool = False
    info: bool = False
    one_line: bool = False
    header: bool = True


def lines(rows: Sequence[Row], show: Show) -> Iterator[str]:
    """All lines, the header first; each column is as wide as its widest cell."""
    table: list[tuple[str, ...]] = [HEAD] if show.header else []
    table += [cells(row, show) for row in rows]
    widths = [max((len(line[at]) for line in table), default=0) for at in range(len(HEAD))]
    if show.header:
        yield align(HEAD, widths)
    for row, line in zip(rows, table[-len(rows):] if rows else [], strict=True):
        below = " ".join(part for part in (memory(row) if show.memory else "",
                                           info(row, show.numeric) if show.info else "") if part)
        text = align(line, widths)
        yield text if not below else f"{text} {below}" if show.one_line else f"{text}\n\t {below}"


def align(line: Sequence[str], widths: Sequence[int]) -> str:
    """One line: addresses end at their colon, ports begin there."""
    state, received, sent, local, local_port, peer, peer_port, process = (
        cell.rjust(width) if at in (3, 5) else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(line, widths, strict=True)))
    return f"{state} {received} {sent} {local}:{local_port} {peer}:{peer_port} {process}".rstrip()


def cells(row: Row, show: Show) -> tuple[str, ...]:
    """The columns of one row."""
    local, local_port = endpoint(row, "local", show.numeric)
    peer, peer_port = endpoint(row, "remote", show.numeric)
    received, sent = queues(row)
    state = str(row["state"])
    return (STATES.get(state, state), str(received), str(sent), local, local_port, peer,
            peer_port, " ".join(beside(row, show)))


def queues(row: Row) -> tuple[int, int]:
    """Recv-Q and Send-Q."""
    if row["state"] == "LISTEN":
        return row["half_open"], row["backlog"]
    return row.get("unread_bytes", 0), row.get("flight_bytes", 0) + row.get("unsent_bytes", 0)


def endpoint(row: Row, side: str, numeric: bool = True) -> tuple[str, str]:
    """Address and port as ss writes them: IPv6 in brackets, link-local with its interface, * for any."""
    address = str(row.get(side, ""))
    if not address:                                                 # a listener's peer
        any_of = {4: "0.0.0.0", 6: "[::]"}.get(row.get("family", 0), "*")
        return any_of, "*"
    if row["state"] == "LISTEN" and row.get("family") == 0:
        address = "*"
    elif ":" in address:
        scope = row.get("interface", "") if ipaddress.ip_address(address).is_link_local else ""
        address = f"[{address}]" + (f"%{scope}" if scope else "")
    port = row[f"{side}_port"]
    return address, str(port) if numeric else service(port)


@cache
def service(port: int) -> str:
    """A port's name in /etc/services, else its number."""
    try:
        return socket.getservbyport(port, "tcp")
    except OSError:
        return str(port)


# ---- beside the columns

def beside(row: Row, show: Show) -> Iterator[str]:
    """What stands in the column Process."""
    if show.processes:
        yield f'users:(("{row.get("process", "?")}",pid={row["pid"]}))'
    if (show.timers or show.extended) and row.get("timer"):
        yield f"timer:({row['timer']},{milliseconds(row['timer_ms'])},{tries(row)})"
    if show.extended:
        yield f"uid:{row.get('uid', '?')}"
        if "index" in row:
            yield f"sk:{row['index']}.{row['generation']}"
        if row.get("orphan"):
            yield "orphan"


def tries(row: Row) -> int:
    """How often what the timer guards was sent again."""
    return int(row.get("backoff" if row.get("timer") == "on" else "probes", 0))


def milliseconds(ms: int) -> str:
    """As ss writes a timer: 204ms, 1.200ms, 12sec, 1min30sec, 10min."""
    seconds, rest = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    text = f"{minutes}min" if minutes else ""
    if minutes:
        rest = 0
    if minutes > 9:
        seconds = 0
    if seconds > 9:
        rest = 0
    if seconds:
        text += f"{seconds}" + ("." if rest else "sec")
    if rest or not text:
        text += f"{rest:03}ms"
    return text


# ---- below them

def memory(row: Row) -> str:
    """Frames that the connection holds, and its buffers in octets."""
    if "snd_frames" not in row:
        return ""
    return (f"frames:(r{row['rcv_frames']},t{row['snd_frames']},tb{row['snd_buffer_frames']})"
            f" bytes:(r{row['unread_bytes']},rb{row['rcv_buffer_bytes']},o{row['out_of_order_bytes']})")


def info(row: Row, numeric: bool = True) -> str:
    """What `ss -i` tells, in its order and its units: times in ms, windows in segments."""
    if row["state"] == "LISTEN":
        return str(row["congestion"])
    if "mss" not in row:
        return ""
    parts = [*agreed(row), *timing(row), *sums(row), *rates(row, numeric), *recovery(row), *windows(row)]
    return " ".join(parts)


def agreed(row: Row) -> Iterator[str]:
    """What the handshake agreed on, and the congestion control."""
    yield from (name for name, key in (("ts", "timestamps"), ("sack", "sack"), ("ecn", "ecn")) if row[key])
    yield row["congestion"]
    if row["window_scaling"]:
        yield f"wscale:{row['snd_scale']},{row['rcv_scale']}"


def timing(row: Row) -> Iterator[str]:
    """Timeout and round trip, segment size and window."""
    yield f"rto:{min(row['rto_us'] << min(row['backoff'], 32), RTO_MAX_US) / 1000:g}"
    if row["backoff"]:
        yield f"backoff:{row['backoff']}"
    if row["rtt_us"]:
        yield f"rtt:{row['rtt_us'] / 1000:g}/{row['rttvar_us'] / 1000:g}"
    yield f"mss:{row['mss']}"
    yield f"cwnd:{segments(row, 'cwnd_bytes')}"
    if row["ssthresh_bytes"] != INFINITE:
        yield f"ssthresh:{row['ssthresh_bytes'] // max(row['mss'], 1)}"


def sums(row: Row) -> Iterator[str]:
    """What was sent and received; what is 0 is left out."""
    names = (("bytes_sent", "bytes_sent"), ("bytes_retrans", "resent_bytes"), ("bytes_acked", "bytes_acked"),
             ("bytes_received", "bytes_received"), ("segs_out", "segments_sent"),
             ("segs_in", "segments_received"), ("data_segs_out", "data_segments_sent"),
             ("data_segs_in", "data_segments_received"))
    yield from (f"{name}:{row[key]}" for name, key in names if row[key])


def rates(row: Row, numeric: bool) -> Iterator[str]:
    """Rates in bit/s, and the model of BBR."""
    if "bbr_bw_bps" in row:
        gains = "".join(f",{name}:{row[f'bbr_{name}']:g}" for name in ("pacing_gain", "cwnd_gain")
                        if row[f"bbr_{name}"])
        yield f"bbr:(bw:{rate(row['bbr_bw_bps'], numeric)},mrtt:{row['bbr_min_rtt_us'] / 1000:g}{gains})"
    if row["rtt_us"]:
        yield f"send {rate(row['cwnd_bytes'] * 8e6 / row['rtt_us'], numeric)}"
    yield f"lastrcv:{row['silent_ms']}"
    for name in ("pacing_rate", "delivery_rate"):
        if row[f"{name}_bps"]:
            yield f"{name} {rate(row[f'{name}_bps'], numeric)}"


def recovery(row: Row) -> Iterator[str]:
    """What is in flight, was sent again, is lost."""
    if row["flight_bytes"]:
        yield f"unacked:{segments(row, 'flight_bytes')}"
    if row["retransmits"]:
        yield f"retrans:{segments(row, 'retransmitted_bytes')}/{row['retransmits']}"
    if row["lost_bytes"]:
        yield f"lost:{segments(row, 'lost_bytes')}"
    if row["sacked_bytes"]:
        yield f"sacked:{segments(row, 'sacked_bytes')}"


def windows(row: Row) -> Iterator[str]:
    """The receiver's side, and what waits."""
    if row["rcv_rtt_ms"]:
        yield f"rcv_rtt:{row['rcv_rtt_ms']}"
    yield f"rcv_space:{row['rcv_buffer_bytes']}"
    if row["unsent_bytes"]:
        yield f"notsent:{row['unsent_bytes']}"
    if row["rtt_min_us"]:
        yield f"minrtt:{row['rtt_min_us'] / 1000:g}"
    yield f"snd_wnd:{row['snd_wnd_bytes']}"
    yield f"rcv_wnd:{row['rcv_wnd_bytes']}"


def segments(row: Row, key: str) -> int:
    """Octets in segments, the last one begun."""
    return int(-(-row[key] // max(row["mss"], 1)))


def rate(bps: float, numeric: bool) -> str:
    """A rate as ss writes it."""
    if not numeric:
        for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
            if bps >= scale:
                return f"{bps / scale:.1f}{unit}bps"
    return f"{bps:.0f}bps"
