"""What is going on between two samples: each worker's pace, the connections that carry most, and their peers.

A connection that began since the first sample counts from its beginning. One that has ended before the second
is in no row: where a connection lives shorter than the interval, the workers' rates tell more than the
talkers.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from heapq import nlargest
from typing import Any

from underpass.observe.sample import Counter, Sample, Samples, rates
from underpass.wire.address import text_from_octets

ORDERS = ("bytes", "sent", "received")
TALKERS = 20
REFUSALS = 3                                # reasons that are named

# Counters besides those of "refused" and "socket" that tell of something turned away or put off.
TURNED_AWAY = frozenset({
    ("link", "rx_no_frame"), ("link", "rx_too_long"), ("link", "tx_refused"), ("link", "tx_invalid"),
    ("link", "tx_failed"), ("pool", "refused"), *(("tcp", name) for name in (
        "no_listener", "half_open_limit", "cookies_refused", "connection_limit", "frame_limit",
        "frame_starved", "out_of_window", "paws_refused", "ack_refused", "challenge_limited",
        "answer_limited", "ooo_limit", "orphan_limit", "time_wait_limit", "fast_open_refused",
        "fast_open_limit", "unroutable", "no_neighbour")),
})


@dataclass(frozen=True, slots=True)
class Pace:
    """One worker. Rates are a second's; `refusals` are (layer.name, how many), the most frequent first."""

    pid: int
    interface: str
    command: str
    core: int
    cpu_percent: float
    rx_pps: float
    tx_pps: float
    rx_bps: float
    tx_bps: float
    connections: int
    half_open: int
    time_waits: int
    new_per_s: float
    retransmits_per_s: float
    refusals: list[tuple[str, float]]
    frames: int | None
    frames_free: int | None


@dataclass(frozen=True, slots=True)
class Talker:
    """A connection, or all of a remote address; octets a second, acknowledged by it and received from it."""

    pid: int
    remote: str
    sent_per_s: float
    received_per_s: float
    remote_port: int = 0
    local: str = ""
    local_port: int = 0
    state: str = ""
    rtt_us: int = 0
    connections: int = 1

    def by(self, order: str) -> float:
        """What `order` compares."""
        sent, received = self.sent_per_s, self.received_per_s
        return {"sent": sent, "received": received}.get(order, sent + received)


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it."""

    workers: list[Pace]
    talkers: list[Talker]
    remotes: list[Talker]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


# Of one connection: worker, index, generation, remote address, octets sent and received a second.
Moved = tuple[Sample, int, int, bytes, float, float]


def picture(before: Samples, after: Samples, order: str = "bytes", most: int = TALKERS) -> Picture:
    """Of the workers that both samples have; samples are taken with `traffic`."""
    both = [(before[inode], late) for inode, late in after.items() if inode in before]
    moves = [move for early, late in both for move in moved(early, late)]
    return Picture([pace(early, late) for early, late in both],
                   talkers(moves, order, most), remotes(moves, order, most))


def pace(early: Sample, late: Sample) -> Pace:
    """One worker's row."""
    found = {counter: rate or 0.0 for counter, rate in rates(early, late)}
    seconds = (late.at_ns - early.at_ns) / 1e9

    def rate(layer: str, *names: str) -> float:
        return round(sum(found.get((layer, name), 0.0) for name in names), 3)

    tcp, pool = late.stats["tcp"], late.stats.get("pool", {})
    return Pace(
        pid=late.worker.pid, interface=str(late.facts["interface"]), command=late.worker.command,
        core=late.core, cpu_percent=round(100 * (late.cpu_s - early.cpu_s) / seconds, 1) if seconds else 0.0,
        rx_pps=rate("link", "rx_packets"), tx_pps=rate("link", "tx_packets"),
        rx_bps=8 * rate("link", "rx_bytes"), tx_bps=8 * rate("link", "tx_bytes"),
        connections=tcp["connections"], half_open=tcp["half_open"], time_waits=tcp["time_waits"],
        new_per_s=rate("tcp", "active_opens", "passive_opens"), retransmits_per_s=rate("tcp", "retransmits"),
        refusals=refusals(found), frames=pool.get("frames"), frames_free=pool.get("free"))


def refusals(found: Mapping[Counter, float]) -> list[tuple[str, float]]:
    """What was refused most."""
    there = [(f"{layer}.{name}", round(rate, 3)) for (layer, name), rate in found.items()
             if rate > 0 and (layer in ("refused", "socket") or (layer, name) in TURNED_AWAY
                              or (layer == "xdp" and name.startswith("dropped")))]
    return nlargest(REFUSALS, there, key=lambda it: it[1])


def moved(early: Sample, late: Sample) -> Iterable[Moved]:
    """What each connection carried a second, as far as it carried something."""
    seconds = (late.at_ns - early.at_ns) / 1e9
    for (index, generation), (remote, acked, received) in late.traffic.items():
        _, acked_before, received_before = early.traffic.get((index, generation), (b"", 0, 0))
        # Torn reads may go back by a little.
        sent, got = max(acked - acked_before, 0), max(received - received_before, 0)
        if seconds > 0 and sent + got > 0:
            yield late, index, generation, remote, sent / seconds, got / seconds


def talkers(moves: Iterable[Moved], order: str, most: int) -> list[Talker]:
    """The connections that carry most; only theirs are read in full."""
    named = ((move, Talker(0, "", move[4], move[5])) for move in moves)
    rows = []
    loudest = nlargest(most, named, key=lambda it: it[1].by(order))
    for (late, index, generation, remote, *_), talker in loudest:
        row: Mapping[str, Any] | None = None
        with suppress(OSError, ValueError), late.worker.open() as reader:
            row = reader.connection(index)
        if row is not None and row["generation"] == generation:
            rows.append(Talker(late.worker.pid, text_from_octets(remote), round(talker.sent_per_s, 1),
                               round(talker.received_per_s, 1), row["remote_port"], row["local"],
                               row["local_port"], row["state"], row["rtt_us"]))
    return rows


def remotes(moves: Iterable[Moved], order: str, most: int) -> list[Talker]:
    """The same by worker and remote address."""
    sums: dict[tuple[int, bytes], list[float]] = {}
    for late, _, _, remote, sent, received in moves:
        total = sums.setdefault((late.worker.pid, remote), [0.0, 0.0, 0])
        for at, value in enumerate((sent, received, 1)):
            total[at] += value
    rows = (Talker(pid, text_from_octets(remote), round(sent, 1), round(received, 1), connections=int(count))
            for (pid, remote), (sent, received, count) in sums.items())
    return nlargest(most, rows, key=lambda it: it.by(order))
