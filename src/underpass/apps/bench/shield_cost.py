"""What the shield costs a packet: test runs of the XDP program (BPF_PROG_TEST_RUN) beside an empty one.

Rows with random sources run a program that makes the source another one before each packet; what they are
compared with does the same. A round measures every row once; the figure is the median of what a row took
above the empty program in the same round.
"""

import ipaddress
import random
import socket
import statistics
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.xdp.steer_object import SteerObject
from underpass.xdp.test_run import test_run

PREFIXES = 1_000_000
RUNS = 1_000_000                # of one measurement, no more than there are prefixes: each source is met once
SEED = 1
MAC = b"\2\0\0\0\0\1"
TO_V4, TO_V6, PORT = "10.0.0.1", "fd00::1", 80
PF_XDP = 44
HOW = ("nanoseconds a packet above an empty program that returns XDP_DROP; BPF_PROG_TEST_RUN, "
       f"{RUNS:,} packets a measurement, {PREFIXES:,} random prefixes in the deny list")

ORDINARY = 0x08080808            # a source that no list has
DROP_UDP = '[interface]\ndrop = ["udp"]\nudp-replies = false\n'
LISTED = '[interface]\nbogons = "off"\n[lists.bad]\nfile = "{name}"\n'
EVERYTHING = LISTED + """
[lists.good]
action = "allow"
prefixes = ["192.0.2.0/24", "2001:db8::/32"]
[services]
bogons = "martians"
[[services.rule]]
action = "drop"
from-ports = 0
[[services.rule]]
action = "drop"
from = ["203.0.113.0/24", "2001:db8:bad::/48"]
[[services.rate]]
per = "source"
packets = 1000000000
syns = 1000000
[[services.rate]]
per = "service"
bytes = 1000000000000
[detection]
packets = 4000000000
block-for = "10m"
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the policy (None: none is loaded), the frame, and what it may cost in nanoseconds."""

    name: str
    what: str
    frame: Callable[[], bytes]
    verdict: int
    policy: str | None = None
    features: tuple[str, ...] = ("filters",)
    sources: str = "others"             # those of the list: "listed"
    is_random: bool = False
    goal: int | None = None


DROP, PASS, REDIRECT = 1, 2, 4
WITH_LISTS = ("filters", "lists")
ALL = ("filters", "lists", "rates", "detection")


def numbers(count: int, seed: int = SEED) -> Iterator[int]:
    """The generator of xdp/bench.bpf.c."""
    for _ in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        yield seed


def v4_of(number: int) -> str:
    """The source that the program makes of a number."""
    return socket.inet_ntoa(struct.pack("!I", number))


def v6_of(number: int) -> str:
    """The same for IPv6, a /64."""
    words = 0x20000000 | number >> 3, number << 3 & 0xFFFFFFFF, 0, 0
    return f"{ipaddress.IPv6Address(struct.pack('!4I', *words))}/64"


def udp_v4(source: int = SEED) -> bytes:
    """A datagram to a port of Linux, its source at the beginning of the generator."""
    ip = struct.pack("!BBHHHBBHI4s", 0x45, 0, 46, 1, 0, 64, 17, 0, source, socket.inet_aton(TO_V4))
    return MAC + b"\2\0\0\0\0\2\x08\x00" + ip + struct.pack("!HHHH", 5000, 9999, 26, 0) + bytes(18)


def udp_ordinary() -> bytes:
    """The same from somewhere else."""
    return udp_v4(ORDINARY)


def udp_v6() -> bytes:
    """The same over IPv6."""
    ip = struct.pack("!IHBB12sI16s", 6 << 28, 26, 17, 64, b"\x20" + bytes(11), SEED,
                     socket.inet_pton(socket.AF_INET6, TO_V6))
    return MAC + b"\2\0\0\0\0\2\x86\xdd" + ip + struct.pack("!HHHH", 5000, 9999, 26, 0) + bytes(18)


def tcp_v4() -> bytes:
    """A segment of an established connection to the claimed port."""
    ip = struct.pack("!BBHHHBBHI4s", 0x45, 0, 40, 1, 0, 64, 6, 0, ORDINARY, socket.inet_aton(TO_V4))
    tcp = struct.pack("!HHIIBBHHH", 5000, PORT, 1, 2, 0x50, 0x10, 999, 0, 0)
    return MAC + b"\2\0\0\0\0\2\x08\x00" + ip + tcp + bytes(6)


ROWS = (
    Row("pass", "no policy: a datagram passes", udp_v4, PASS, features=()),
    Row("miss v4", "deny list, random sources that are not in it: pass", udp_v4, PASS, LISTED, WITH_LISTS,
        is_random=True, goal=20),
    Row("hit v4", "deny list, random sources that are in it: drop", udp_v4, DROP, LISTED, WITH_LISTS,
        sources="listed", is_random=True, goal=250),
    Row("miss v6", "the same over IPv6: pass", udp_v6, PASS, LISTED, WITH_LISTS, is_random=True),
    Row("hit v6", "the same over IPv6: drop", udp_v6, DROP, LISTED, WITH_LISTS, sources="listed",
        is_random=True),
    Row("udp", "UDP rule: drop", udp_ordinary, DROP, DROP_UDP, goal=15),
    Row("redirect", "no policy: a claimed segment to its socket", tcp_v4, REDIRECT, features=()),
    Row("everything", "a claimed segment through all features to its socket", tcp_v4, REDIRECT, EVERYTHING,
        features=ALL, goal=120),
    Row("everything, random", "the same, each from another source", tcp_v4, REDIRECT, EVERYTHING,
        features=ALL, is_random=True),
)


def measure(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All rows, `rounds` times in turns. Raises OSError."""
    found: dict[str, list[float]] = {row.name: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        write_lists(Path(folder))
        empty = {is_random: undo.enter_context(closing(SteerObject((), False, measured=name)))
                 for is_random, name in ((False, "empty"), (True, "empty_random"))}
        loaded = [(row, undo.enter_context(prepared(row, Path(folder)))) for row in ROWS]
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            for row, program in loaded:
                base = timed(empty[row.is_random], row, DROP)
                found[row.name].append(timed(program, row, row.verdict) - base)
    return {"how": HOW, "rounds": rounds, "rows": [
        {"name": row.name, "what": row.what, "goal_ns": row.goal, "ns": statistics.median(found[row.name]),
         "min_ns": min(found[row.name]), "max_ns": max(found[row.name])} for row in ROWS]}


def write_lists(folder: Path) -> None:
    """A list of sources that will come, and one of others."""
    listed = list(numbers(PREFIXES))
    others = random.Random(SEED).sample(range(1 << 32), PREFIXES)
    others = list(set(others) - set(listed))
    for name, them in (("listed", listed), ("others", others)):
        for family, of in (("v4", v4_of), ("v6", v6_of)):
            (folder / f"{name}-{family}").write_text("\n".join(map(of, them)))


@contextmanager
def prepared(row: Row, folder: Path) -> Iterator[SteerObject]:
    """The program of a row, with its policy, a claim and a socket."""
    measured = "steer_random" if row.is_random else "steer"
    with closing(SteerObject(row.features, False, measured=measured)) as program, \
            socket.socket(PF_XDP, socket.SOCK_RAW) as taker:
        put(program, "config", bytes(4), MAC + struct.pack("=HHH", 1, 0, 0))
        claim = bytes(10) + b"\xff\xff" + socket.inet_aton(TO_V4) + struct.pack("!HBB", PORT, 6, 0)
        put(program, "claims", claim, struct.pack("=I", 1))
        put(program, "xsks", bytes(4), struct.pack("=I", taker.fileno()))
        if row.policy is not None:
            family = "v6" if row.frame is udp_v6 else "v4"
            text = row.policy.replace("{name}", f"{row.sources}-{family}")
            Shield(Fixed(program), 0).load(policy_file.parse(text, folder=str(folder)))
        yield program


class Fixed:
    """A program whose features are those that it was loaded with."""

    def __init__(self, program: SteerObject) -> None:
        self.features = program.features
        self.map = program.map

    def switch(self, features: Any, entries: Any = None) -> None:
        """Not here."""
        raise ValueError("the policy needs features that the row does not name")


def put(program: SteerObject, name: str, key: bytes, value: bytes) -> None:
    """One entry of one map."""
    with closing(program.map(name)) as it:
        it.update(key, value)


def timed(program: SteerObject, row: Row, verdict: int) -> float:
    """Nanoseconds of one run."""
    said, nanoseconds, _ = test_run(program.program_fd, row.frame(), RUNS)
    if said != verdict:
        raise OSError(0, f"{row.name}: the program's verdict is {said}, not {verdict}")
    return float(nanoseconds)


def cells(report: dict[str, Any]) -> Sequence[Sequence[str]]:
    """The rows as text."""
    return [("WHAT", "NS", "GOAL", ""), *(
        (row["what"], f"{row['ns']:.0f}", "" if row["goal_ns"] is None else f"<= {row['goal_ns']}",
         "" if row["goal_ns"] is None else "met" if row["ns"] <= row["goal_ns"] else "not met")
        for row in report["rows"])]
