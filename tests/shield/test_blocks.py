"""Blocks that come of themselves: how long they last, and the room that they leave for others."""

from collections.abc import Iterator

import pytest
from tests.shield.loaded import loaded
from tests.shield.test_shield import LISTED, NETWORK, frame, reason, shield_of

from underpass.linux.namespaces import until
from underpass.shield import policy_file
from underpass.shield.shield import Shield, open_shield
from underpass.testing.namespaces import VethPair
from underpass.xdp.loader import XdpProgram

ROOM_FOR_ONE = '[detection]\npackets = 20\nblock-for = "1s"\nblocks = 1\n'
FIRST, OTHER = "8.8.8.8", "9.9.9.9"


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    with loaded(veth, (veth.ours.v4, 80)) as it:
        yield it


def flood(program: XdpProgram, veth: VethPair, source: str) -> str:
    """What becomes of the last one of many segments from there."""
    return [reason(program, frame(veth, source)) for _ in range(100)][-1]


def found_out(shield: Shield) -> list[str]:
    return [str(it.network.network_address) for it in shield.blocks() if it.kind == "heavy"]


def test_a_heavy_source_is_let_in_again_after_its_time(program: XdpProgram, veth: VethPair) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(ROOM_FOR_ONE))
    assert flood(program, veth, FIRST) == "dropped_blocked"
    (block,) = shield.blocks()
    assert block.left_s is not None and 0 < block.left_s <= 1
    assert reason(program, frame(veth, OTHER)) == "dropped_no_socket"
    assert until(lambda: reason(program, frame(veth, FIRST)) == "dropped_no_socket", 20)
    assert shield.blocks() == []


def test_room_comes_back_when_blocks_that_are_over_are_swept(program: XdpProgram, veth: VethPair) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(ROOM_FOR_ONE))
    assert flood(program, veth, FIRST) == "dropped_blocked"
    assert shield.sweep() == 0
    assert flood(program, veth, OTHER) == "dropped_no_socket"
    assert shield.stats()["detection"] == {"blocked": 1, "would_block": 0, "refused": refusals(shield)}
    assert until(lambda: not shield.blocks(), 20)
    assert flood(program, veth, OTHER) == "dropped_no_socket"       # the first still takes its place
    assert shield.sweep() == 1
    assert flood(program, veth, OTHER) == "dropped_blocked"
    assert found_out(shield) == [OTHER]


def refusals(shield: Shield) -> int:
    found = int(shield.stats()["detection"]["refused"])
    assert found > 0
    return found


def test_who_attached_it_goes_on_with_what_another_process_has_loaded(
    program: XdpProgram, veth: VethPair
) -> None:
    """Its own program is not what is attached by then, and has not all of the maps."""
    with veth.ours.entered(), open_shield(veth.ours.interface) as other:
        other.load(policy_file.parse(ROOM_FOR_ONE))
        other.block(NETWORK("8.8.8.8"), 0.000001)
        other.block(NETWORK("9.9.9.9"))
    shield = shield_of(program)
    assert shield.policy().text == ROOM_FOR_ONE  # type: ignore[union-attr]
    assert shield.sweep() == 1
    shield.block(NETWORK("7.7.7.7"))
    shield.load(policy_file.parse(LISTED))
    assert program.features == {"filters", "detection", "lists"}
    assert [str(it.network) for it in shield.blocks()] == ["7.7.7.7/32", "9.9.9.9/32"]
    assert reason(program, frame(veth, "9.9.9.9")) == "dropped_blocked"
    with veth.ours.entered(), open_shield(veth.ours.interface) as other:
        assert other.policy().text == LISTED  # type: ignore[union-attr]
