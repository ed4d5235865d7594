"""What the shield costs a packet: test runs of the XDP program (BPF_PROG_TEST_RUN) beside an empty one.

Rows with random sources run a program that makes the source another one before each packet, that of a packet
which is turned into its answer one that first puts it back; what they are compared with does the same. A
round measures every row once; the figure is the median of what a row took above the empty program in the same
round.
"""

import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underpass.apps.bench.shield_flows import PLAN, admission
from underpass.apps.bench.shield_frames import (
    MAC,
    PORT,
    TO_V4,
    TO_V6,
    numbers,
    stray_v4,
    syn_v4,
    syn_v6,
    tcp_v4,
    udp_ordinary,
    udp_v4,
    udp_v6,
    v4_of,
    v6_of,
)
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.xdp.test_run import test_run
from underpass.xdp.unattached import ONLY, Unattached

PREFIXES = 1_000_000
RUNS = 1_000_000                # of one measurement, no more than there are prefixes: each source is met once
SEED = 1
LOAD_S = 5                      # what a million prefixes may take until they are in force
HOW = ("nanoseconds a packet above an empty program that returns XDP_DROP; BPF_PROG_TEST_RUN, "
       f"{RUNS:,} packets a measurement, {PREFIXES:,} random prefixes in the deny list")

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
FORM_TOO = "samples = true\n" + EVERYTHING.replace("[services]\n", "[services]\nchecksums = true\n") + """
[[services.rate]]
per = "source"
connections = 100000
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the policy (None: none is loaded), the frame, what is done to it before each run, and what it
    may cost in nanoseconds. `cookies`: when SYNs are answered, where the features have that.
    """

    name: str
    what: str
    frame: Callable[[], bytes]
    verdict: int
    policy: str | None = None
    features: tuple[str, ...] = ("filters",)
    sources: str = "others"             # those of the list: "listed"
    before: str = ""                    # "_random", "_put_back": xdp/bench.bpf.c
    cookies: str = "auto"
    goal: int | None = None


DROP, PASS, SEND_BACK, REDIRECT = 1, 2, 3, 4
RANDOM, PUT_BACK = "_random", "_put_back"
WITH_LISTS = ("filters", "lists")
MOST = ("filters", "lists", "rates", "detection")
ADMISSION = ("cookies", "flows")
ALL = (*MOST, *ADMISSION, "connections", "samples")

ROWS = (
    Row("pass", "no policy: a datagram passes", udp_v4, PASS, features=()),
    Row("miss v4", "deny list, random sources that are not in it: pass", udp_v4, PASS, LISTED, WITH_LISTS,
        before=RANDOM, goal=20),
    Row("hit v4", "deny list, random sources that are in it: drop", udp_v4, DROP, LISTED, WITH_LISTS,
        sources="listed", before=RANDOM, goal=250),
    Row("miss v6", "the same over IPv6: pass", udp_v6, PASS, LISTED, WITH_LISTS, before=RANDOM),
    Row("hit v6", "the same over IPv6: drop", udp_v6, DROP, LISTED, WITH_LISTS, sources="listed",
        before=RANDOM),
    Row("udp", "UDP rule: drop", udp_ordinary, DROP, DROP_UDP, goal=15),
    Row("redirect", "no policy: a claimed segment to its socket", tcp_v4, REDIRECT, features=()),
    Row("most", "a claimed segment through filters, lists, rates, detection to its socket", tcp_v4,
        REDIRECT, EVERYTHING, MOST, goal=120),
    Row("most, random", "the same, each from another source", tcp_v4, REDIRECT, EVERYTHING, MOST,
        before=RANDOM),
    Row("everything", "the same with all features, its checksum verified, no pressure", tcp_v4, REDIRECT,
        FORM_TOO, ALL, goal=120),
    Row("known", "no policy: a claimed segment, its flow looked up, to its socket", tcp_v4, REDIRECT,
        features=ADMISSION, cookies="always"),
    Row("stray", "no policy: a segment of no flow, tried as a cookie: drop", stray_v4, DROP,
        features=ADMISSION, cookies="always"),
    Row("cookie v4", "no policy: a SYN of Linux, answered by a cookie", syn_v4, SEND_BACK,
        features=ADMISSION, cookies="always", before=PUT_BACK, goal=350),
    Row("cookie v6", "the same over IPv6", syn_v6, SEND_BACK, features=ADMISSION, cookies="always",
        before=PUT_BACK, goal=350),
)


def measure(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All rows, `rounds` times in turns. Raises OSError."""
    found: dict[str, list[float]] = {row.name: [] for row in ROWS}
    loads: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        write_lists(Path(folder))
        loaded = []
        for row in ROWS:
            base = undo.enter_context(Unattached((), mac=MAC, measured=f"empty{row.before}"))
            put_back(base, row)
            started = time.monotonic()
            program = undo.enter_context(prepared(row, Path(folder)))
            loads[row.name] = time.monotonic() - started
            loaded.append((row, base, program))
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            for row, base, program in loaded:
                found[row.name].append(timed(program, row, row.verdict) - timed(base, row, DROP))
    return {"how": HOW, "rounds": rounds,
            "load_s": {family: loads[f"miss {family}"] for family in ("v4", "v6")}, "load_goal_s": LOAD_S,
            "rows": [{"name": row.name, "what": row.what, "goal_ns": row.goal,
                      "ns": statistics.median(found[row.name]), "min_ns": min(found[row.name]),
                      "max_ns": max(found[row.name])} for row in ROWS]}


def write_lists(folder: Path) -> None:
    """A list of sources that will come, and one of others."""
    listed = list(numbers(PREFIXES))
    others = random.Random(SEED).sample(range(1 << 32), PREFIXES)
    others = list(set(others) - set(listed))
    for name, them in (("listed", listed), ("others", others)):
        for family, of in (("v4", v4_of), ("v6", v6_of)):
            (folder / f"{name}-{family}").write_text("\n".join(map(of, them)))


@contextmanager
def prepared(row: Row, folder: Path) -> Iterator[Unattached]:
    """The program of a row, with its policy and a claim."""
    sizes = PLAN.sizes if set(ADMISSION) <= set(row.features) else {}
    with ExitStack() as undo:
        program = undo.enter_context(
            Unattached(row.features, mac=MAC, entries=sizes, measured=f"steer{row.before}"))
        for address in (TO_V4, TO_V6):
            program.claim(address, PORT)
        put_back(program, row)
        if sizes:
            undo.enter_context(admission(program.object, row.cookies))
        if row.policy is not None:
            family = "v6" if row.frame is udp_v6 else "v4"
            text = row.policy.replace("{name}", f"{row.sources}-{family}")
            Shield(program, 0).load(policy_file.parse(text, folder=str(folder)))
        yield program


def put_back(program: Unattached, row: Row) -> None:
    """Tell a program that puts a frame back which one."""
    if row.before == PUT_BACK:
        frame = row.frame()
        program.put("originals", ONLY, struct.pack("=I124s", len(frame), frame))


def timed(program: Unattached, row: Row, verdict: int) -> float:
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


def load_cells(report: dict[str, Any]) -> Sequence[Sequence[str]]:
    """How long prefixes take to be in force, as text."""
    goal = report["load_goal_s"]
    return [("PREFIXES FROM A FILE IN FORCE", "S", "GOAL", ""), *(
        (f"{PREFIXES:,}, IP{family}", f"{seconds:.1f}", f"<= {goal}", "met" if seconds <= goal else "not met")
        for family, seconds in report["load_s"].items())]
