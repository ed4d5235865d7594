"""Whatever comes in: the verdict is one of those that there are, and each packet is counted once, for that.

`EXAMPLES=1000000 pytest tests/xdp/test_arbitrary.py --timeout=0` looks for longer, at other frames each time.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.xdp.door import Door

from underpass.linux.admission import AdmissionPlan
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.probe_xdp import verdict
from underpass.testing.shield_frames import arbitrary_frame

EXAMPLES = int(os.environ.get("EXAMPLES", "20000"))
SEED = time.time_ns() if "EXAMPLES" in os.environ else 1
BATCH = 500
LONGEST = {False: 3000, True: 3 * 4096 + 100}
ALONE = 200                             # frames that are looked at one by one
THE_SHIELDS = {f"dropped_{why}" for why in (
    "denied", "blocked", "rule", "default", "protocol", "port", "vlan", "flags", "bogon", "fragment",
    "length", "checksum", "source_rate", "service_rate", "connections", "new_connections")}
VERDICT_OF = {"redirected": "REDIRECT", "passed": "PASS", "dropped": "DROP", "answered": "TX"}

NOTHING = AdmissionPlan()
ALWAYS = AdmissionPlan(syn_cookies="always", overload=True)
POLICY = """
sources = 1024
[lists.bad]
prefixes = ["198.51.100.0/24", "2a00:1450::/32", "9.9.9.9"]
[lists.good]
action = "allow"
prefixes = ["198.51.100.77", "2a00:1450:1::9"]
[interface]
bogons = "all"
checksums = true
drop = ["udp", 47]
udp-ports = [53]
tcp-ports = [22]
vlans = [0, 5]
fragments = "first"
[[interface.rule]]
action = "drop"
from-ports = 53
[[interface.rule]]
action = "count"
flags = "syn,!ack"
[[interface.rate]]
per = "source"
packets = 1000
bytes = 100000
[services]
fragments = "drop"
[[services.rate]]
per = "service"
syns = 1000
[[services.rate]]
per = "source"
new-connections = 100
[detection]
packets = 100
block-for = "1s"
blocks = 5
"""


@pytest.fixture(params=[False, True], ids=["xdp", "xdp.frags"])
def multi_buffer(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["plain", "shield", "admission", "everything"])
def door(veth: VethPair, multi_buffer: bool, request: pytest.FixtureRequest) -> Iterator[Door]:
    """The program, with what the parameter names in it and in force."""
    plan = ALWAYS if request.param in ("admission", "everything") else NOTHING
    with ExitStack() as undo:
        it = undo.enter_context(Door(veth, plan, multi_buffer=multi_buffer))
        it.program.set_local_addresses([veth.ours.v4, veth.ours.v6])
        it.program.set_flow_range(61000, 61099)
        if request.param in ("shield", "everything"):
            Shield(it.program, it.program.netdev.index).load(policy_file.parse(POLICY))
        yield it


def tallied(shield: Shield) -> tuple[Counter[str], Counter[str], Counter[str], int]:
    """What the shield has dropped by reason, by rule and by list, and the octets of it."""
    stats = shield.stats()
    dropped = [(reason, it) for rows in stats["dropped"].values() for reason, it in rows.items()]
    by_reason = Counter[str]()
    for reason, it in dropped:
        by_reason[reason] += it.packets
    by_rule, by_list = (Counter({name: it.packets for name, it in stats[kind].items()})
                        for kind in ("rules", "lists"))
    return by_reason, by_rule, by_list, sum(it.octets for _, it in dropped)


def check_tallies(shield: Shield, before: Any, counted: Counter[str], dropped_octets: int) -> None:
    """The shield's own counts are the program's, for its reasons; lists and rules have what they decided."""
    after = tallied(shield)
    by_reason, by_rule, by_list = (late - early for late, early in zip(after[:3], before[:3], strict=True))
    theirs = Counter({reason: counted[reason] for reason in counted if reason in THE_SHIELDS})
    assert by_reason == theirs, f"with the seed {SEED}"
    assert by_list.total() == theirs["dropped_denied"], f"with the seed {SEED}"
    assert by_rule["interface.rule 1"] == theirs["dropped_rule"], f"with the seed {SEED}"
    assert after[3] - before[3] <= dropped_octets, f"with the seed {SEED}"
    if counted.total() == 1 and theirs.total() == 1:
        assert after[3] - before[3] == dropped_octets, f"with the seed {SEED}"


def test_any_octets_have_a_verdict_and_are_counted_once(
    door: Door, veth: VethPair, multi_buffer: bool
) -> None:
    """The shield's tallies add up to the counters, in batches and frame by frame."""
    chance = random.Random(SEED)
    ours = (veth.ours.v4, veth.ours.v6)
    shield = Shield(door.program, door.program.netdev.index)
    sizes = [1] * ALONE + [BATCH] * (EXAMPLES // BATCH)
    for size in sizes:
        before, said, octets = Counter(door.program.counters()), Counter[str](), 0
        has_policy = shield.policy() is not None
        tallies = tallied(shield) if has_policy else None
        for _ in range(size):
            frame = arbitrary_frame(chance, veth.ours.mac, ours, LONGEST[multi_buffer])
            found = verdict(door.program, frame)
            said[found] += 1
            octets += len(frame) if found == "DROP" else 0
        reasons = Counter(door.program.counters()) - before
        counted = Counter[str]()
        for reason, packets in reasons.items():
            counted[VERDICT_OF[reason.partition("_")[0]]] += packets
        assert counted == said, f"with the seed {SEED}"
        if has_policy:
            check_tallies(shield, tallies, reasons, octets)
