"""Rates, new connections, heavy senders and samples under random frames, against the model with a clock."""

import ipaddress
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.shield.test_verdicts import FLOWS, OTHER_PORT, PORT, counted

from underpass.linux.netdev_features import netdev_features
from underpass.shield import policy_file
from underpass.shield.policy import Policy
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.shield_clock import WINDOW_BITS, TimedModel
from underpass.testing.shield_frames import random_frame
from underpass.xdp.loader import XdpProgram

TICKS_NS = 25_000_000                   # the program's clock is that of the last tick but one at the most
FRAMES = 1200
RATES = {
    "packets of sources": '[[services.rate]]\nper = "source"\npackets = 1\nburst = 20\n',
    "octets of prefixes": '[interface]\n'
                          '[[interface.rate]]\nper = "source"\nv4 = 16\nv6 = 32\nbytes = 100\nburst = 20\n',
    "SYNs of all": '[[services.rate]]\nper = "service"\nsyns = 1\nburst = 9\n',
    "several": '[interface]\n[[interface.rate]]\nper = "service"\npackets = 2\nbytes = 200\nburst = 30\n'
               '[services]\n[[services.rate]]\nper = "source"\nsyns = 1\nburst = 4\n'
               '[[services.rate]]\nper = "source"\nv4 = 24\npackets = 2\nburst = 12\n'
               '[[services.rate]]\nper = "source"\nnew-connections = 1\nburst = 2\n'
               '[[service]]\nport = 443\n[[service.rate]]\nper = "service"\nnew-connections = 1\nburst = 3\n',
    "allowed behind rules": '[lists.good]\naction = "allow"\nprefixes = ["198.51.101.0/24"]\n'
                            '[services]\norder = ["rules", "allow"]\n'
                            '[[services.rule]]\naction = "pass"\n'
                            '[[services.rate]]\nper = "source"\npackets = 1\nburst = 5\n'
                            '[[services.rate]]\nper = "source"\nnew-connections = 1\nburst = 2\n',
    "allowed and denied": '[lists.good]\naction = "allow"\nprefixes = ["198.51.101.0/24"]\n'
                          '[lists.bad]\nprefixes = ["198.51.102.0/24"]\n'
                          '[[services.rate]]\nper = "source"\npackets = 1\nburst = 5\n',
}


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    veth.peer.run("ip", "link", "set", veth.peer.interface, "down")
    with veth.ours.entered():
        loaded = XdpProgram(netdev_features(veth.ours.interface))
    with loaded:
        for address in (veth.ours.v4, veth.ours.v6):
            loaded.claim(address, PORT)
            loaded.claim(address, OTHER_PORT)
        loaded.set_local_addresses([veth.ours.v4, veth.ours.v6])
        loaded.set_flow_range(*FLOWS)
        yield loaded


def model_of(veth: VethPair, policy: Policy) -> TimedModel:
    ours = {ipaddress.ip_address(it) for it in (veth.ours.v4, veth.ours.v6)}
    claims = {(it, port) for it in ours for port in (PORT, OTHER_PORT)}
    return TimedModel(veth.ours.mac, policy, claims, ours, FLOWS,
                      lists={it.name: it.prefixes for it in policy.lists})


def frames_of(chance: random.Random, veth: VethPair) -> list[bytes]:
    """Random ones, and SYNs and segments that are right, from few sources: more than rates allow."""
    frames = []
    for _ in range(FRAMES):
        if chance.random() < 0.5:
            frames.append(random_frame(chance, veth.ours.mac, (veth.ours.v4, veth.ours.v6)))
            continue
        six = chance.random() < 0.3
        one, other = chance.randrange(3), chance.randrange(4)
        src = f"2001:db8:{one}::1" if six else f"198.51.{100 + one}.{other}"
        segment = TcpSegment(src=src, dst=veth.ours.v6 if six else veth.ours.v4, dst_mac=veth.ours.mac_text,
                             src_mac=veth.peer.mac_text, src_port=chance.randrange(1024, 65536),
                             dst_port=chance.choice((80, 80, 443, 22)), payload=bytes(chance.randrange(40)),
                             flags=chance.choice((Flags.SYN, Flags.ACK, Flags.ACK, Flags.SYN | Flags.ACK)))
        frames.append(segment.build())
    return frames


def agree(program: XdpProgram, model: TimedModel, frames: list[bytes]) -> Counter[str]:
    """Hold both against each other; how often each reason came up."""
    seen: Counter[str] = Counter()
    for frame in frames:
        before = time.monotonic_ns() - TICKS_NS
        found = counted(program, frame)
        assert found == model.verdict_at(frame, (before, time.monotonic_ns()), found), frame.hex()
        seen[found[1]] += 1
    return seen


@pytest.mark.parametrize("name", RATES)
def test_rates_are_those_of_the_model(program: XdpProgram, veth: VethPair, name: str) -> None:
    policy = policy_file.parse(RATES[name])
    Shield(program, program.netdev.index).load(policy)
    model = model_of(veth, policy)
    seen = agree(program, model, frames_of(random.Random(name), veth))
    assert seen["dropped_source_rate"] + seen["dropped_service_rate"] + seen["dropped_new_connections"] > 50
    assert model.unsure < FRAMES / 20
    if name == "several":
        reasons = ("dropped_source_rate", "dropped_service_rate", "dropped_new_connections")
        assert min(seen[reason] for reason in reasons) > 5
    if name == "allowed and denied":
        assert seen["dropped_denied"] > 0


HEAVY = """
[detection]
packets = 8
block-for = "10m"
blocks = 3
v4 = 24
v6 = 48
[lists.good]
action = "allow"
prefixes = ["198.51.101.0/24"]
[services]
[[services.rate]]
per = "source"
packets = 30
burst = 100
"""


def test_who_is_heavy_is_as_the_model_says(program: XdpProgram, veth: VethPair) -> None:
    """Within a window of the program's: where one ends meanwhile, all is done again in the next."""
    policy = policy_file.parse(HEAVY)
    shield = Shield(program, program.netdev.index)
    for attempt in range(20):
        shield.load(policy)                     # with other seeds: what was counted before is nobody's
        for block in shield.blocks():
            shield.unblock(block.network)
        shield.load(policy)                     # now there is room for new blocks
        model = model_of(veth, policy)
        refused = shield.stats()["detection"]["refused"]
        end = (time.monotonic_ns() >> WINDOW_BITS) + 1
        while time.monotonic_ns() - 2 * TICKS_NS < end << WINDOW_BITS:
            time.sleep(0.005)                   # the window's beginning
        try:
            seen = agree(program, model, frames_of(random.Random(attempt), veth)[:500])
        except TimeoutError:
            continue
        break
    else:
        raise AssertionError("the machine takes more than a second for 500 frames")
    assert {block.network for block in shield.blocks()} == set(model.found)
    assert len(model.found) == 3
    assert shield.stats()["detection"]["refused"] - refused == model.refused_blocks
    assert seen["dropped_blocked"] > 20


def test_samples_are_of_what_was_dropped_and_say_why(program: XdpProgram, veth: VethPair) -> None:
    """The first of each tick, in their order, with the model's reason and section."""
    text = "samples = true\n" + RATES["several"] + '[lists.bad]\nprefixes = ["198.51.102.0/24"]\n'
    policy = policy_file.parse(text)
    shield = Shield(program, program.netdev.index)
    shield.load(policy)
    model = model_of(veth, policy)
    dropped: list[tuple[bytes, str]] = []
    with shield.drops() as drops:
        for frame in frames_of(random.Random(5), veth):
            before = time.monotonic_ns() - TICKS_NS
            found = counted(program, frame)
            assert found == model.verdict_at(frame, (before, time.monotonic_ns()), found)
            if found[0] == "DROP":
                dropped.append((frame, found[1]))
        samples = drops.read()
    assert len(samples) > 10
    rest = iter(dropped)
    for sample in samples:
        assert not sample.dry_run
        assert any((frame[:256], len(frame), why) == (sample.frame, sample.octets, sample.reason)
                   for frame, why in rest), sample
