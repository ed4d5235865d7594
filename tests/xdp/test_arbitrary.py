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


def test_any_octets_have_a_verdict_and_are_counted_once(
    door: Door, veth: VethPair, multi_buffer: bool
) -> None:
    chance = random.Random(SEED)
    ours = (veth.ours.v4, veth.ours.v6)
    for _ in range(EXAMPLES // BATCH):
        before, said = Counter(door.program.counters()), Counter[str]()
        for _ in range(BATCH):
            frame = arbitrary_frame(chance, veth.ours.mac, ours, LONGEST[multi_buffer])
            said[verdict(door.program, frame)] += 1
        counted = Counter[str]()
        for reason, packets in (Counter(door.program.counters()) - before).items():
            counted[VERDICT_OF[reason.partition("_")[0]]] += packets
        assert counted == said, f"with the seed {SEED}"
