"""Blocks and allowances by hand under random frames, against the model."""

import ipaddress
import random
from collections import Counter

import pytest
from tests.shield.test_verdicts import LISTS, agree, model_of, program, tallied

from underpass.shield import policy_file
from underpass.shield.policy import Network
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.shield_frames import SOURCES_V4, SOURCES_V6, random_frame
from underpass.xdp.loader import XdpProgram

__all__ = ["program"]

POLICY = LISTS + """
[interface]
bogons = "off"
drop = ["udp"]
[[interface.rule]]
action = "pass"
protocol = "icmp"
[services]
bogons = "off"
"""
LENGTHS = {4: (0, 1, 8, 15, 24, 27, 31, 32), 6: (0, 3, 32, 48, 63, 64, 65, 128)}
KINDS = ("block", "block", "allow")


def some_networks(chance: random.Random) -> list[Network]:
    """Those of sources that frames have, and of others, of all lengths; everybody's seldom."""
    found = []
    for source in (*SOURCES_V4, *SOURCES_V6, "77.7.7.7", "2001:7777::1"):
        version = 6 if ":" in source else 4
        length = chance.choice(LENGTHS[version][chance.random() < 0.9 :])
        found.append(ipaddress.ip_network((source, length), strict=False))
    return found


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_blocks_and_allowances_are_those_of_the_model(
    program: XdpProgram, veth: VethPair, seed: int, dry_run: bool
) -> None:
    """Of eight lengths in each family, one within the other, some over; put in place one by one."""
    policy = policy_file.parse(("dry-run = true" if dry_run else "") + POLICY)
    shield, chance = Shield(program, 1), random.Random(seed)
    shield.load(policy)
    model, seen = model_of(veth, policy), Counter[str]()
    for number, network in enumerate(some_networks(chance)):
        kind = chance.choice(KINDS)
        say = shield.allow if kind == "allow" else shield.block
        blocks = {it: was for it, was in model.blocks.items() if it != network}
        if chance.random() < 0.2:
            say(network, 1e-6)                          # over at once
            model.blocks = blocks
        else:
            say(network, chance.choice((None, 3600)))
            model.blocks = blocks | {network: kind}
        if number % 6 == 5 and blocks:
            gone = chance.choice(list(blocks))
            assert shield.unblock(gone)
            model.blocks = {it: was for it, was in model.blocks.items() if it != gone}
        frames = [random_frame(chance, model.mac, (veth.ours.v4, veth.ours.v6)) for _ in range(30)]
        seen.update(agree(program, model, frames))
    assert tallied(shield) == model.tallied
    assert {it.network: it.kind for it in shield.blocks()} == model.blocks
    kind = "would_drop" if dry_run else "dropped"
    for section in ("interface", "services"):
        assert model.tallied[kind, section, "dropped_blocked"][0] > 10
    assert seen["dropped_no_socket"] > 3
