"""Samples of what is dropped."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.shield.loaded import loaded
from tests.xdp.door import FULL, Door
from tests.xdp.test_admission import at_level

from underpass.linux.admission import AdmissionPlan
from underpass.linux.namespaces import until
from underpass.shield import policy_file
from underpass.shield.drops import Drop, Drops
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_xdp import verdict
from underpass.xdp.loader import XdpProgram

POLICY = """
samples = true
[lists.bad]
prefixes = ["198.51.100.0/24"]
[[service]]
port = 443
[[service.rate]]
per = "service"
packets = 1
burst = 1
"""


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    with loaded(veth, (veth.ours.v4, 80), (veth.ours.v4, 443)) as it:
        yield it


def shield_with(program: XdpProgram, text: str) -> Shield:
    shield = Shield(program, program.netdev.index)
    shield.load(policy_file.parse(text))
    return shield


def frame(veth: VethPair, src: str = "198.51.100.9", **fields: Any) -> bytes:
    return TcpSegment(**({"src": src, "dst": veth.ours.v4, "dst_port": 80, "flags": Flags.ACK,
                          "dst_mac": veth.ours.mac_text, "src_mac": veth.peer.mac_text} | fields)).build()


def sampled(program: XdpProgram, drops: Drops, octets: bytes, reason: str = "") -> Drop:
    """The sample of it, for that reason if one is given; there is one a tick at the most, whatever else is
    dropped.
    """
    found: list[Drop] = []

    def is_there() -> bool:
        verdict(program, octets)
        found.extend(it for it in drops.read() if it.frame == octets[:256] and reason in ("", it.reason))
        return bool(found)

    assert until(is_there, 20)
    return found[0]


def test_what_was_dropped_and_why(program: XdpProgram, veth: VethPair) -> None:
    with shield_with(program, POLICY).drops() as drops:
        assert drops.read() == []
        octets = frame(veth)
        found = sampled(program, drops, octets)
        assert (found.reason, found.section, found.dry_run) == ("dropped_denied", "services", False)
        assert (found.octets, found.frame) == (len(octets), octets)
        rated = sampled(program, drops, frame(veth, "192.0.2.1", dst_port=443), "dropped_service_rate")
        assert rated.section == "*:443"


def test_a_long_packet_is_cut(program: XdpProgram, veth: VethPair) -> None:
    with shield_with(program, POLICY).drops() as drops:
        found = sampled(program, drops, frame(veth, payload=bytes(range(200)) * 5))
        assert (found.octets, len(found.frame)) == (1054, 256)


def test_each_is_told_once_and_what_passes_never(program: XdpProgram, veth: VethPair) -> None:
    with shield_with(program, POLICY).drops() as drops:
        sampled(program, drops, frame(veth))
        drops.read()
        for _ in range(1000):
            assert verdict(program, frame(veth, "192.0.2.1", dst_port=81)) == "PASS"
        assert drops.read() == []


def test_dry_runs_say_so(program: XdpProgram, veth: VethPair) -> None:
    with shield_with(program, "dry-run = true\n" + POLICY).drops() as drops:
        assert sampled(program, drops, frame(veth), "dropped_denied").dry_run


def test_the_last_of_many_are_kept(program: XdpProgram, veth: VethPair) -> None:
    """Whoever asks late gets them all, in the order of their times."""
    shield = shield_with(program, POLICY)
    with shield.drops() as drops:
        found = [sampled(program, drops, frame(veth, payload=bytes(number))) for number in range(5)]
    with shield.drops() as drops:
        late = drops.read()
    assert [it.at_ns for it in late] == sorted(it.at_ns for it in late)
    assert {it.octets for it in late} >= {it.octets for it in found}


def test_what_no_socket_takes_is_among_them(program: XdpProgram, veth: VethPair) -> None:
    """Dropped by no section's order, but because the queue has no worker, or as a part of a segment."""
    with shield_with(program, POLICY).drops() as drops:
        found = sampled(program, drops, frame(veth, "192.0.2.1"))
        assert (found.reason, found.section, found.dry_run) == ("dropped_no_socket", "services", False)
        octets = TcpSegment(src="192.0.2.1", dst=veth.ours.v4, dst_mac=veth.ours.mac_text)
        part = sampled(program, drops, octets.build(ip_fragment=0x2000))
        assert (part.reason, part.section) == ("dropped_first_fragment", "services")


def test_who_is_not_admitted_is_among_them(veth: VethPair, family: str) -> None:
    """Strangers, and SYNs that no cookie can answer; what an overloaded worker refuses."""
    with Door(veth, AdmissionPlan("always", overload=True)) as door:
        stranger = door.segment(family, flags=Flags.ACK).build()
        syn, broken = door.syn(family, **FULL).build(), door.syn(family).build(tcp_checksum=0x1234)
        engine = door.engine()
        with shield_with(door.program, "samples = true\n").drops() as drops:
            def reason_of(octets: bytes) -> tuple[str, str, bool]:
                found = sampled(door.program, drops, octets)
                assert found.frame == octets
                return found.reason, found.section, found.dry_run

            assert reason_of(stranger) == ("dropped_stranger", "services", False)
            assert reason_of(broken) == ("dropped_syn_malformed", "services", False)
            assert at_level(engine, 200) == 2
            assert reason_of(syn) == ("dropped_overload_syn", "services", False)
            assert at_level(engine, 256) == 3
            assert reason_of(stranger) == ("dropped_overload_stranger", "services", False)


def test_without_samples_in_the_policy_it_says_so(program: XdpProgram) -> None:
    shield = shield_with(program, "")
    with pytest.raises(OSError, match="samples = true"), shield.drops():
        pass
