"""Loading, blocks and counters, by the process that attached the program and by another one."""

import errno
import ipaddress
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.shield.loaded import loaded

from underpass.shield import policy_file
from underpass.shield.policy_file import PolicyError
from underpass.shield.policy_image import block_key_octets, block_octets, state_fields
from underpass.shield.shield import Shield, open_shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_xdp import verdict
from underpass.xdp import steer_object
from underpass.xdp.loader import XdpProgram

NETWORK = ipaddress.ip_network
LISTED = """
[lists.bad]
prefixes = ["198.51.100.0/24", "2001:db8:bad::/48"]
[lists.good]
action = "allow"
prefixes = ["203.0.113.7"]
[[services.rule]]
name = "no port nine"
action = "drop"
from-ports = 9
"""


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    with loaded(veth, (veth.ours.v4, 80), (veth.ours.v6, 80)) as it:
        yield it


def shield_of(program: XdpProgram) -> Shield:
    return Shield(program, program.netdev.index)


def frame(veth: VethPair, src: str, src_port: int = 4000) -> bytes:
    return TcpSegment(
        src=src,
        dst=veth.ours.v6 if ":" in src else veth.ours.v4,
        src_port=src_port,
        dst_port=80,
        dst_mac=veth.ours.mac_text,
        src_mac=veth.peer.mac_text,
    ).build()


def reason(program: XdpProgram, octets: bytes) -> str:
    before = program.counters()
    verdict(program, octets)
    (found,) = [name for name, value in program.counters().items() if value == before[name] + 1]
    return found


def test_a_policy_comes_and_goes_while_the_program_runs(program: XdpProgram, veth: VethPair) -> None:
    shield = shield_of(program)
    assert shield.policy() is None
    assert shield.stats() == {}
    sizes = shield.load(policy_file.parse(LISTED))
    assert sizes == {"bad": 2, "good": 1}
    assert program.features == {"filters", "lists"}
    assert reason(program, frame(veth, "198.51.100.9")) == "dropped_denied"
    assert reason(program, frame(veth, "8.8.8.8")) == "dropped_no_socket"
    assert reason(program, frame(veth, "8.8.8.8", 9)) == "dropped_rule"
    stats = shield.stats()
    assert stats["lists"]["bad"].packets == 1
    assert stats["rules"]["no port nine"].packets == 1
    assert {name: it.packets for name, it in stats["dropped"]["services"].items()} == {
        "dropped_denied": 1,
        "dropped_rule": 1,
    }
    shield.unload()
    assert reason(program, frame(veth, "198.51.100.9")) == "dropped_no_socket"
    assert shield.policy() is None


def test_another_process_sees_and_changes_the_same(program: XdpProgram, veth: VethPair) -> None:
    """Found by the kernel's numbers, as `underpass shield` does."""
    with veth.ours.entered(), open_shield(veth.ours.interface) as other:
        other.load(policy_file.parse(LISTED))
        assert other.policy() is not None
        other.block(NETWORK("8.8.8.0/24"), 3600)
    with veth.ours.entered(), open_shield(veth.ours.interface) as third:
        assert third.policy().text == LISTED  # type: ignore[union-attr]
        (block,) = third.blocks()
        assert (block.network, block.kind) == (NETWORK("8.8.8.0/24"), "block")
        assert 3500 < block.left_s <= 3600  # type: ignore[operator]


def test_claims_are_the_owners_after_another_process_has_exchanged_the_program(
    program: XdpProgram, veth: VethPair
) -> None:
    with veth.ours.entered(), open_shield(veth.ours.interface) as other:
        other.load(policy_file.parse("[interface]\ndefault = 'drop'"))
    program.claim(veth.ours.v4, 81)
    program.renew()
    with veth.ours.entered(), open_shield(veth.ours.interface) as other:
        assert other.policy() is not None


def test_blocks_and_allowances(program: XdpProgram, veth: VethPair) -> None:
    shield = shield_of(program)
    with pytest.raises(OSError, match="no policy is loaded"):
        shield.block(NETWORK("8.8.8.8"))
    shield.load(policy_file.parse(LISTED))
    shield.block(NETWORK("8.8.8.0/24"))
    shield.block(NETWORK("203.0.113.0/24"))
    shield.block(NETWORK("9.0.0.0/8"), 0.000001)
    assert reason(program, frame(veth, "8.8.8.8")) == "dropped_blocked"
    assert reason(program, frame(veth, "9.9.9.9")) == "dropped_no_socket"  # its time is over
    assert reason(program, frame(veth, "203.0.113.8")) == "dropped_blocked"
    assert reason(program, frame(veth, "203.0.113.7")) == "dropped_no_socket"  # the allow list always wins
    shield.allow(NETWORK("8.8.8.8"))
    assert reason(program, frame(veth, "8.8.8.8")) == "dropped_no_socket"
    assert reason(program, frame(veth, "8.8.8.9")) == "dropped_blocked"
    shield.allow(NETWORK("198.51.100.7"))
    assert reason(program, frame(veth, "198.51.100.7")) == "dropped_no_socket"
    assert reason(program, frame(veth, "198.51.100.8")) == "dropped_denied"
    assert shield.sweep() == 1
    assert shield.unblock(NETWORK("8.8.8.0/24"))
    assert not shield.unblock(NETWORK("8.8.8.0/24"))
    assert reason(program, frame(veth, "8.8.8.9")) == "dropped_no_socket"


def test_blocks_have_eight_lengths_at_most(program: XdpProgram) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(""))
    for bits in range(20, 28):
        shield.block(NETWORK((0x08000000, bits)))
    with pytest.raises(OSError, match="IPv4 prefixes of 8 different lengths are blocked, and no more can be"):
        shield.block(NETWORK("8.0.0.0/8"))
    assert len(shield.blocks()) == 8


def test_blocks_are_65536_at_most(program: XdpProgram, veth: VethPair) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(""))
    blocks, one = program.map("blocks"), block_octets(1, 0, "block")
    for number in range(65536):
        blocks.update(block_key_octets(NETWORK((0x09000000 + number, 32))), one)
    full = "65536 prefixes are blocked, and no more can be; a list in the policy holds any number"
    with pytest.raises(OSError, match=full) as it:
        shield.block(NETWORK("8.8.8.8"))
    assert it.value.errno == errno.ENOSPC
    assert reason(program, frame(veth, "9.0.255.255")) == "dropped_blocked"
    assert shield.unblock(NETWORK("9.0.0.0"))
    shield.block(NETWORK("8.8.8.8"))
    assert reason(program, frame(veth, "8.8.8.8")) == "dropped_blocked"


def test_a_policy_whose_blocks_have_no_room_changes_nothing(program: XdpProgram, veth: VethPair) -> None:
    """Of eight lengths there are blocks, and [detection] of the new policy needs a ninth."""
    shield = shield_of(program)
    shield.load(policy_file.parse(LISTED))
    for bits in range(20, 28):
        shield.block(NETWORK((0x08000000, bits)))
    reason(program, frame(veth, "198.51.100.9"))
    before, stats, features = program.map("shield").lookup(bytes(4)), shield.stats(), program.features
    wanted = policy_file.parse("[detection]\npackets = 9\nblock-for = '1m'\nv4 = 19\n")
    with pytest.raises(OSError, match=r"\[detection\] would block those of /19: give it one"):
        shield.load(wanted)
    assert shield.policy().text == LISTED  # type: ignore[union-attr]
    assert program.map("shield").lookup(bytes(4)) == before
    assert (shield.stats(), program.features) == (stats, features)
    assert reason(program, frame(veth, "198.51.100.9")) == "dropped_denied"
    assert shield.unblock(NETWORK("8.0.0.0/20"))
    shield.load(wanted)
    assert shield.policy() == wanted
    assert reason(program, frame(veth, "198.51.100.9")) == "dropped_no_socket"
    assert reason(program, frame(veth, "8.0.0.9")) == "dropped_blocked"


class Written:
    """A program whose writes to the map `shield` are kept."""

    def __init__(self, program: XdpProgram) -> None:
        self._program, self.states = program, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._program, name)

    def map(self, name: str) -> Any:
        found = self._program.map(name)
        return WrittenMap(found, self.states) if name == "shield" else found


class WrittenMap:
    def __init__(self, of: Any, states: list[bytes]) -> None:
        self._of, self._states = of, states

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def update(self, key: bytes, value: bytes) -> None:
        self._states.append(value)
        self._of.update(key, value)


def test_a_policy_and_the_lengths_of_its_blocks_come_by_one_write(program: XdpProgram) -> None:
    """No packet meets the policy without the lengths that its [detection] blocks."""
    written = Written(program)
    shield = Shield(written, program.netdev.index)
    shield.load(policy_file.parse(LISTED))
    shield.block(NETWORK("8.8.8.0/24"))
    written.states.clear()
    shield.load(policy_file.parse("[detection]\npackets = 9\nblock-for = '1m'\nv4 = 19\n"))
    (state,) = written.states
    assert state_fields(state) == (1, 1, [24, 19], [64], 1)


def test_blocks_stay_and_counts_go_on_when_a_policy_is_loaded(program: XdpProgram, veth: VethPair) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(LISTED))
    shield.block(NETWORK("8.8.8.8"))
    reason(program, frame(veth, "198.51.100.9"))
    reason(program, frame(veth, "7.7.7.7", 9))
    more = "[lists.first]\nprefixes = ['192.0.2.0/24']\n" + LISTED
    shield.load(policy_file.parse(more))
    stats = shield.stats()
    assert (stats["lists"]["first"].packets, stats["lists"]["bad"].packets) == (0, 1)
    assert stats["rules"]["no port nine"].packets == 1
    assert reason(program, frame(veth, "8.8.8.8")) == "dropped_blocked"


def test_rules_of_services_are_counted_each_by_itself(program: XdpProgram, veth: VethPair) -> None:
    program.claim(veth.ours.v4, 81)
    rule = "[[service.rule]]\naction = 'drop'\nfrom = '{}'\n"
    rules = rule.format("8.8.8.8") + rule.format("9.9.9.9")
    shield = shield_of(program)
    shield.load(policy_file.parse("".join(f"[[service]]\nport = {port}\n{rules}" for port in (80, 81))))
    for src, times in (("8.8.8.8", 1), ("9.9.9.9", 2)):
        for _ in range(times):
            assert reason(program, frame(veth, src)) == "dropped_rule"
    assert {name: it.packets for name, it in shield.stats()["rules"].items()} == {
        "*:80 rule 1": 1, "*:80 rule 2": 2, "*:81 rule 1": 0, "*:81 rule 2": 0}


def test_a_policy_that_cannot_be_loaded_leaves_the_one_before(
    program: XdpProgram, veth: VethPair, tmp_path: Path
) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(LISTED))
    with pytest.raises(PolicyError, match=r"policy:2: lists\.far\.file: .*nowhere\.txt: No such file"):
        shield.load(policy_file.parse("[lists.far]\nfile = 'nowhere.txt'", folder=str(tmp_path)))
    (tmp_path / "bad.txt").write_text("# countries\n192.0.2.0/24 ; SBL1\n\n192.0.2.1/24\n")
    with pytest.raises(PolicyError, match=r"policy:2: lists\.near\.file: .*bad\.txt:4: 192\.0\.2\.1/24 has"):
        shield.load(policy_file.parse("[lists.near]\nfile = 'bad.txt'", folder=str(tmp_path)))
    assert shield.policy().text == LISTED  # type: ignore[union-attr]
    assert reason(program, frame(veth, "198.51.100.9")) == "dropped_denied"


def test_a_policy_that_only_another_version_takes_does_not_stay(program: XdpProgram, veth: VethPair) -> None:
    """As it stands in the maps of a server that was upgraded."""
    shield = shield_of(program)
    shield.load(policy_file.parse(LISTED))
    text = b"/\nno-such-key = 1"
    octets = (len(text).to_bytes(4, "little") + text).ljust(program.map("policy_texts").value_size, b"\0")
    for generation in range(2):
        program.map("policy_texts").update(generation.to_bytes(4, "little"), octets)
    with pytest.raises(PolicyError, match="no-such-key: is not known here"):
        shield.policy()
    shield.load(policy_file.parse(""))
    assert shield.policy().text == ""  # type: ignore[union-attr]
    assert reason(program, frame(veth, "198.51.100.9")) == "dropped_no_socket"


def test_no_packet_passes_while_policies_are_exchanged(program: XdpProgram, veth: VethPair) -> None:
    """Two policies that both drop it, loaded in turns while test runs go on in another thread."""
    shield = shield_of(program)
    policies = [
        policy_file.parse(f"[lists.l{it}]\nprefixes = ['198.51.100.0/24', '10.{it}.0.0/16']") for it in (1, 2)
    ]
    shield.load(policies[0])
    octets, passed, done = frame(veth, "198.51.100.9"), [], threading.Event()

    def send() -> None:
        while not done.is_set():
            before = program.counters()["dropped_denied"]
            for _ in range(20):
                verdict(program, octets)
            if program.counters()["dropped_denied"] != before + 20:
                passed.append(1)

    sender = threading.Thread(target=send)
    sender.start()
    for turn in range(40):
        shield.load(policies[turn % 2])
    done.set()
    sender.join()
    assert not passed


def test_who_changes_it_is_alone(
    program: XdpProgram, veth: VethPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("underpass.shield.shield.LOCK_S", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        lock.bind(f"\0underpass-shield-{program.netdev.index}")
        with pytest.raises(OSError, match="another process is changing the shield"):
            shield_of(program).load(policy_file.parse(""))


def test_who_serves_waits_for_nobody_to_sweep(
    program: XdpProgram, veth: VethPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    shield = shield_of(program)
    shield.load(policy_file.parse(""))
    shield.block(ipaddress.ip_network("9.9.9.9"), 0.000001)
    monkeypatch.delattr("underpass.shield.shield.time.sleep")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        lock.bind(f"\0underpass-shield-{program.netdev.index}")
        with pytest.raises(OSError, match="another process is changing the shield"):
            shield.sweep()
    assert shield.sweep() == 1


def test_an_interface_without_underpass_is_named(veth: VethPair) -> None:
    with (
        veth.ours.entered(),
        pytest.raises(OSError, match=f"Underpass serves nothing on {veth.ours.interface}"),
        open_shield(veth.ours.interface),
    ):
        pass


def test_the_program_of_another_version_is_left_alone(
    program: XdpProgram, veth: VethPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maps may have another layout: neither `shield` nor a supervisor after an upgrade writes to them."""
    monkeypatch.setattr(steer_object, "VERSION", 0)
    with (
        veth.ours.entered(),
        pytest.raises(OSError, match="the XDP program that is attached is another version's"),
        open_shield(veth.ours.interface),
    ):
        pass
    held = {name: os.dup(fd) for name, fd in program.descriptors().items()}
    with pytest.raises(OSError, match="the XDP program that is attached is another version's"):
        XdpProgram(program.netdev, adopted=held, facts=program.facts() | {"version": 1})


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param((32, 32, 1_000_000), id="addresses"),
        pytest.param((32, 29, 400_000), id="too-many-eights-for-the-bloom-filter"),
        pytest.param((32, 20, 20_000), id="networks"),
        pytest.param((128, 64, 200_000), id="ipv6"),
        pytest.param((128, 25, 40_000), id="too-many-ipv6-for-the-bloom-filter"),
        pytest.param((128, 20, 2_000), id="ipv6-networks"),
    ],
)
def test_a_million_prefixes_are_searched_as_they_are_written(
    program: XdpProgram, veth: VethPair, tmp_path: Path, kind: tuple[int, int, int]
) -> None:
    """The ends of random prefixes of a long list, their neighbours, and random others: each as the list says.

    `kind`: the family's bits, the prefixes' length, how many of them.
    """
    bits, length, count = kind

    def some(of: int) -> set[int]:
        """So many numbers of prefixes, of ordinary sources."""
        numbers = {secrets.randbits(length) for _ in range(of)}
        if bits == 32:
            return {it for it in numbers if 2 <= it >> (length - 8) < 126}
        return {it >> 3 | 1 << (length - 3) for it in numbers}  # 2000::/3

    rest = bits - length
    address = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    numbers = some(count)
    (tmp_path / "many").write_text("\n".join(f"{address(it << rest)}/{length}" for it in numbers))
    policy = policy_file.parse("[lists.many]\nfile = 'many'", folder=str(tmp_path))
    assert shield_of(program).load(policy) == {"many": len(numbers)}
    listed = list(numbers)[:200]
    for it in (*listed, *(near + 1 for near in listed), *(near - 1 for near in listed), *some(400)):
        expected = "dropped_denied" if it in numbers else "dropped_no_socket"
        for source in (it << rest, (it + 1 << rest) - 1):
            assert reason(program, frame(veth, str(address(source)))) == expected
