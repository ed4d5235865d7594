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
from underpass.testing.xdp_target import (
    COUNTED_POLICY,
    LONGEST,
    POLICY,
    THE_SHIELDS,
    VERDICT_OF,
    say_by_hand,
    tallied,
)

EXAMPLES = int(os.environ.get("EXAMPLES", "20000"))
SEED = time.time_ns() if "EXAMPLES" in os.environ else 1
BATCH = 500
SAMPLED = 256                           # octets of a packet that is sampled
ALONE = 200                             # frames that are looked at one by one
NOTHING = AdmissionPlan()
ALWAYS = AdmissionPlan(syn_cookies="always", overload=True)
POLICIES = {"shield": POLICY, "everything": COUNTED_POLICY}


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
        if request.param in POLICIES:
            shield = Shield(it.program, it.program.netdev.index)
            shield.load(policy_file.parse(POLICIES[request.param]))
            say_by_hand(shield)
        yield it


def octets_of(shield: Shield) -> int:
    """What the shield has dropped, in octets."""
    return sum(it.octets for rows in shield.stats()["dropped"].values() for it in rows.values())


def check_tallies(shield: Shield, before: Any, counted: Counter[str], dropped_octets: int) -> None:
    """The shield's own counts are the program's, for its reasons; lists and rules have what they decided, in
    dry runs, too.
    """
    (early, *them), octets = before
    late, *those = tallied(shield)
    dropped, would = (late[kind] - early[kind] for kind in ("dropped", "would_drop"))
    by_rule, by_list = (after - earlier for after, earlier in zip(those, them, strict=True))
    theirs = Counter({reason: counted[reason] for reason in counted if reason in THE_SHIELDS})
    assert dropped == theirs, f"with the seed {SEED}"
    assert by_list.total() == (dropped + would)["dropped_denied"], f"with the seed {SEED}"
    assert by_rule["interface.rule 1"] == (dropped + would)["dropped_rule"], f"with the seed {SEED}"
    more = octets_of(shield) - octets
    assert more <= dropped_octets, f"with the seed {SEED}"
    if counted.total() == 1 and theirs.total() == 1:
        assert more == dropped_octets, f"with the seed {SEED}"


def check_samples(shield: Shield, frames: set[bytes]) -> None:
    """Each is the beginning of a frame that came, with the reason to drop it."""
    with shield.drops() as drops:
        samples = drops.read()
    assert samples, f"with the seed {SEED}"
    for it in samples:
        assert it.reason.startswith("dropped_"), f"with the seed {SEED}"
        assert it.frame in frames, f"with the seed {SEED}"
        assert len(it.frame) == min(it.octets, SAMPLED), f"with the seed {SEED}"


def test_any_octets_have_a_verdict_and_are_counted_once(
    door: Door, veth: VethPair, multi_buffer: bool
) -> None:
    """The shield's tallies add up to the counters, in batches and frame by frame."""
    chance = random.Random(SEED)
    ours = (veth.ours.v4, veth.ours.v6)
    shield = Shield(door.program, door.program.netdev.index)
    heads: set[bytes] = set()
    sizes = [1] * ALONE + [BATCH] * (EXAMPLES // BATCH)
    for size in sizes:
        before, said, octets = Counter(door.program.counters()), Counter[str](), 0
        has_policy = shield.policy() is not None
        tallies = (tallied(shield), octets_of(shield)) if has_policy else None
        for _ in range(size):
            frame = arbitrary_frame(chance, veth.ours.mac, ours, LONGEST[multi_buffer])
            heads.add(frame[:SAMPLED])
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
    if shield.policy() is not None:
        check_samples(shield, heads)
