"""A trace's rows in words: a line for each that tells more than that octets went by."""

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]

UNREMARKABLE = {"off", "retransmission", "loss probe", "linger"}    # timers that any transfer sets
PHASES = {"open": "recovered", "recovery": "fast recovery", "loss": "loss recovery"}
OCTETS = (("cwnd", "cwnd"), ("ssthresh", "ssthresh"), ("snd_wnd", "peer's window"), ("rcv_wnd", "our window"),
          ("mss", "mss"), ("lost_bytes", "lost"), ("sacked_bytes", "sacked"), ("ooo_bytes", "out of order"))
FIRED = {"retransmission": "retransmission timer fired", "reordering": "reordering timer fired",
         "loss probe": "loss probe timer fired", "persist": "window probe timer fired",
         "handshake": "handshake was not answered", "linger": "keepalive or closing timer fired"}


def heading(row: Row) -> str:
    """Which connection it is, and in whose hands."""
    return (f"{end(row['local'], row['local_port'])} <-> {end(row['remote'], row['remote_port'])} "
            f"on {row['interface']} (worker {row['pid']}), {row['congestion']}")


def end(address: str, port: int) -> str:
    """Address and port, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def words(row: Row, before: Row | None) -> str:
    """What the row tells, "" where it is nothing but progress; `before` is the row before it."""
    if row["event"] == "resent":
        behind = row["seq"] + row["length"]
        octets = f"{row['seq']}:{behind}" if row["length"] else f"{row['seq']}, no payload"
        return f"sent again {octets} ({row['why']})"
    told = [FIRED.get(row["cause"], "timer fired")] if row["event"] == "fired" else []
    told += changes(row, before) if before else beginning(row)
    if row["event"] == "ended":
        told.append("ended")
    if before and row["dropped"] > before["dropped"]:
        told.append(f"{row['dropped'] - before['dropped']} records lost here")
    return ", ".join(told)


def beginning(row: Row) -> list[str]:
    """The first row."""
    return [row["state"], f"mss {row['mss']}", f"cwnd {row['cwnd']}",
            f"peer's window {row['snd_wnd']}", f"our window {row['rcv_wnd']}", *round_trip(row)]


def changes(row: Row, before: Row) -> list[str]:
    """What is another than in the row before."""
    told = [f"{before['state']} -> {row['state']}"] if row["state"] != before["state"] else []
    if row["error"] != before["error"]:
        told.append(f"error {row['error']}")
    if row["phase"] != before["phase"]:
        told.append(PHASES.get(row["phase"], "?"))
    told += [f"{name} {amount(before[key])} -> {amount(row[key])}"
             for key, name in OCTETS if row[key] != before[key]]
    if (row["srtt_us"], row["rto_us"]) != (before["srtt_us"], before["rto_us"]):
        told += round_trip(row)
    if row["backoff"] != before["backoff"]:
        told.append(f"backoff {row['backoff']}")
    if row["timer"] != before["timer"] and not {row["timer"], before["timer"]} <= UNREMARKABLE:
        told.append(f"timer {row['timer']}")
    return told


def amount(octets: int | None) -> str:
    """Octets; none yet."""
    return "none" if octets is None else str(octets)


def round_trip(row: Row) -> list[str]:
    """In milliseconds."""
    sample = [f"rtt {row['rtt_us'] / 1000:.4g} ms"] if row["rtt_us"] else []
    return [*sample, f"srtt {row['srtt_us'] / 1000:.4g} ms", f"rto {row['rto_us'] / 1000:.4g} ms"]


def lines(rows: Iterator[Row]) -> Iterator[str]:
    """All of it: the heading, then each line with the seconds since the first row."""
    before: Row | None = None
    first_ns = 0
    for row in rows:
        if before is None:
            first_ns = row["at_ns"]
            yield heading(row)
        said = words(row, before)
        if said:
            yield f"{(row['at_ns'] - first_ns) / 1e9:12.6f}  {said}"
        if row["event"] != "resent":        # which the next row follows from
            before = row
