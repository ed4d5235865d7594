"""The XDP program's verdicts, frame by frame: what is not claimed stays the kernel's."""

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from underpass.linux.netdev_features import netdev_features
from underpass.testing.icmp import icmp_error
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import TcpSegment, extension_header
from underpass.testing.probe_xdp import verdict
from underpass.xdp.loader import XdpProgram
from underpass.xdp.steer_object import FEATURES

CLAIMED_PORT = 80
FLOW_PORT = 61000
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, TCP = 0, 43, 44, 60, 6
MORE_FRAGMENTS = 0x2000

Frame = Callable[..., bytes]


PROGRAMS = [(False, ()), (True, ()), (False, FEATURES)]


@pytest.fixture(params=PROGRAMS, ids=["xdp", "xdp.frags", "features"])
def program(veth: VethPair, request: pytest.FixtureRequest) -> Iterator[XdpProgram]:
    """One port claimed in each family, one range of own flows, and no socket registered.

    Features that nothing is set for change nothing.
    """
    multi_buffer, features = request.param
    # For test runs alone: what Linux sends by itself on a new interface would be counted, too.
    veth.peer.run("ip", "link", "set", veth.peer.interface, "down")
    with veth.ours.entered():
        netdev = netdev_features(veth.ours.interface)
        loaded = XdpProgram(netdev, multi_buffer=multi_buffer, features=features)
    with loaded:
        loaded.claim(veth.ours.v4, CLAIMED_PORT)
        loaded.claim(veth.ours.v6, CLAIMED_PORT)
        loaded.set_local_addresses([veth.ours.v4, veth.ours.v6])
        loaded.set_flow_range(FLOW_PORT, FLOW_PORT + 99)
        yield loaded


@pytest.fixture(params=["v4", "v6"])
def frame(veth: VethPair, request: pytest.FixtureRequest) -> Frame:
    """Builds frames from the peer to the claimed port, with whatever is given made different."""

    def build(port: int = CLAIMED_PORT, vlan: tuple[int, ...] = (), **wrong: Any) -> bytes:
        src, dst = getattr(veth.peer, request.param), getattr(veth.ours, request.param)
        mac = {"src_mac": veth.peer.mac_text, "dst_mac": wrong.pop("dst_mac", veth.ours.mac_text)}
        segment = TcpSegment(src=src, dst=wrong.pop("dst", dst), dst_port=port, vlan=vlan, **mac)
        return segment.build(**wrong)

    build.family = request.param  # type: ignore[attr-defined]
    return build


def counted(program: XdpProgram, octets: bytes) -> tuple[str, str]:
    """The verdict, and the one reason that was counted for it."""
    before = program.counters()
    said = verdict(program, octets)
    (reason,) = [name for name, value in program.counters().items() if value == before[name] + 1]
    return said, reason


@pytest.mark.parametrize("vlan", [(), (5,), (5, 6)])
def test_claimed_without_a_socket_is_dropped_and_counted(
    program: XdpProgram, frame: Frame, vlan: tuple[int, ...]
) -> None:
    """Passed up, the kernel would answer a live connection with RST (RFC 9293 3.10.7.1)."""
    assert counted(program, frame(vlan=vlan)) == ("DROP", "dropped_no_socket")


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (FLOW_PORT - 1, ("PASS", "passed_unclaimed")),
        (FLOW_PORT, ("DROP", "dropped_no_socket")),
        (FLOW_PORT + 99, ("DROP", "dropped_no_socket")),
        (FLOW_PORT + 100, ("PASS", "passed_unclaimed")),
        (CLAIMED_PORT + 1, ("PASS", "passed_unclaimed")),
    ],
)
def test_own_flows_are_a_range_of_ports(
    program: XdpProgram, frame: Frame, port: int, expected: tuple[str, str]
) -> None:
    assert counted(program, frame(port=port)) == expected


def test_flows_need_a_local_address_and_a_range(program: XdpProgram, frame: Frame) -> None:
    program.set_local_addresses([])
    assert counted(program, frame(port=FLOW_PORT)) == ("PASS", "passed_unclaimed")
    program.set_flow_range(1, 0)
    assert counted(program, frame(port=FLOW_PORT)) == ("PASS", "passed_unclaimed")


def test_unclaimed_is_the_kernels_again(program: XdpProgram, frame: Frame, veth: VethPair) -> None:
    for address in (veth.ours.v4, veth.ours.v6):
        program.unclaim(address, CLAIMED_PORT)
    assert counted(program, frame()) == ("PASS", "passed_unclaimed")


def test_frames_for_other_macs_pass(program: XdpProgram, frame: Frame) -> None:
    for mac in ("ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "02:75:70:00:00:02"):
        assert counted(program, frame(dst_mac=mac)) == ("PASS", "passed_other_mac")


def test_other_protocols_pass(program: XdpProgram, frame: Frame) -> None:
    assert counted(program, frame(protocol=17)) == ("PASS", "passed_not_tcp")
    assert counted(program, frame(ethertype=0x0806)) == ("PASS", "passed_not_ip")


def test_a_changed_mac_takes_effect(program: XdpProgram, frame: Frame) -> None:
    program.set_mac(bytes.fromhex("020000000009"))
    assert counted(program, frame()) == ("PASS", "passed_other_mac")
    assert counted(program, frame(dst_mac="02:00:00:00:00:09")) == ("DROP", "dropped_no_socket")


def test_every_truncation_passes(program: XdpProgram, frame: Frame) -> None:
    """Headers cut off anywhere, in any of the shapes that are parsed, are left to the kernel."""
    shapes = [frame(), frame(vlan=(5, 6))]
    if frame.family == "v4":  # type: ignore[attr-defined]
        shapes.append(frame(ip_options=bytes(40)))
    else:
        chain = ((HOP_BY_HOP, extension_header(DESTINATION)), (DESTINATION, extension_header(TCP, bytes(30))))
        shapes.append(frame(extensions=chain))
    for whole in shapes:
        assert verdict(program, whole) == "DROP"
        for length in range(14, len(whole)):
            assert verdict(program, whole[:length]) == "PASS", length


@pytest.mark.parametrize("words", range(5))
def test_ipv4_header_under_five_words_is_malformed(program: XdpProgram, veth: VethPair, words: int) -> None:
    """RFC 791 3.1: the minimum value for a correct header is 5."""
    segment = TcpSegment(dst=veth.ours.v4, dst_port=CLAIMED_PORT, dst_mac=veth.ours.mac_text)
    assert counted(program, segment.build(ip_header_words=words)) == ("PASS", "passed_malformed")


@pytest.mark.parametrize("words", range(11))
def test_ipv4_options_are_stepped_over(program: XdpProgram, veth: VethPair, words: int) -> None:
    segment = TcpSegment(dst=veth.ours.v4, dst_port=CLAIMED_PORT, dst_mac=veth.ours.mac_text)
    assert verdict(program, segment.build(ip_options=b"\1" * 4 * words)) == "DROP"


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        (MORE_FRAGMENTS, ("DROP", "dropped_first_fragment")),
        (1, ("PASS", "passed_fragment")),
        (MORE_FRAGMENTS | 100, ("PASS", "passed_fragment")),
    ],
)
def test_ipv4_fragments(
    program: XdpProgram, veth: VethPair, fragment: int, expected: tuple[str, str]
) -> None:
    """The kernel never gets all of a packet of ours: it would answer it with a reset."""
    segment = TcpSegment(dst=veth.ours.v4, dst_port=CLAIMED_PORT, dst_mac=veth.ours.mac_text)
    assert counted(program, segment.build(ip_fragment=fragment)) == expected
    program.unclaim(veth.ours.v4, CLAIMED_PORT)
    program.set_local_addresses([])
    assert counted(program, segment.build(ip_fragment=fragment)) == ("PASS", "passed_unclaimed")


def fragment_header(offset_and_more: int, following: int = TCP) -> bytes:
    return struct.pack("!BBHI", following, 0, offset_and_more, 7)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (0, ("DROP", "dropped_no_socket")),  # RFC 6946: an atomic fragment is a whole packet
        (1, ("DROP", "dropped_first_fragment")),
        (8, ("PASS", "passed_fragment")),
    ],
)
def test_ipv6_fragments(program: XdpProgram, veth: VethPair, field: int, expected: tuple[str, str]) -> None:
    segment = TcpSegment(src="fd77::2", dst=veth.ours.v6, dst_port=CLAIMED_PORT, dst_mac=veth.ours.mac_text)
    octets = segment.build(extensions=((FRAGMENT, fragment_header(field)),))
    assert counted(program, octets) == expected


@pytest.mark.parametrize("headers", range(9))
def test_ipv6_extension_headers_are_followed_to_a_bound(
    program: XdpProgram, veth: VethPair, headers: int
) -> None:
    segment = TcpSegment(src="fd77::2", dst=veth.ours.v6, dst_port=CLAIMED_PORT, dst_mac=veth.ours.mac_text)
    numbers = [DESTINATION] * headers + [TCP]
    chain = tuple(
        (number, extension_header(after)) for number, after in pairwise(numbers)
    )
    expected = ("DROP", "dropped_no_socket") if headers <= 6 else ("PASS", "passed_extensions")
    assert counted(program, segment.build(extensions=chain)) == expected


def test_ipv6_extension_running_over_the_end_is_malformed(program: XdpProgram, veth: VethPair) -> None:
    segment = TcpSegment(src="fd77::2", dst=veth.ours.v6, dst_port=CLAIMED_PORT, dst_mac=veth.ours.mac_text)
    octets = segment.build(extensions=((ROUTING, bytes([TCP, 255]) + bytes(6)),))
    assert counted(program, octets) == ("PASS", "passed_malformed")


# ------------------------------------------------------------------------- ICMP errors

ERRORS = {"v4": [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0)], "v6": [(1, 0), (1, 4), (2, 0), (3, 0), (4, 0)]}
NO_ERRORS = {
    "v4": [(0, 0), (4, 0), (5, 1), (8, 0), (13, 0)],
    "v6": [(0, 0), (5, 0), (128, 0), (135, 0), (137, 0)],
}


@pytest.fixture
def about(veth: VethPair, frame: Frame) -> Callable[..., TcpSegment]:
    """A segment that we sent, and that an error can be about."""

    def build(port: int = CLAIMED_PORT, **wrong: Any) -> TcpSegment:
        ours, peer = (getattr(side, frame.family) for side in (veth.ours, veth.peer))  # type: ignore[attr-defined]
        return TcpSegment(src=wrong.pop("src", ours), dst=peer, src_port=port, dst_port=40000,
                          src_mac=veth.ours.mac_text, dst_mac=veth.peer.mac_text)  # fmt: skip

    return build


@pytest.mark.parametrize("port", [CLAIMED_PORT, FLOW_PORT])
@pytest.mark.parametrize("vlan", [(), (5,)])
def test_errors_about_our_segments_are_ours(
    program: XdpProgram, frame: Frame, about: Callable[..., TcpSegment], port: int, vlan: tuple[int, ...]
) -> None:
    """RFC 1191, RFC 8201: the kernel has no such connection, and can do nothing with them."""
    for kind, code in ERRORS[frame.family]:  # type: ignore[attr-defined]
        error = icmp_error(about(port), kind, code, mtu=1400, vlan=vlan)
        assert counted(program, error) == ("DROP", "dropped_no_socket")


def test_other_icmp_is_the_kernels(
    program: XdpProgram, frame: Frame, about: Callable[..., TcpSegment]
) -> None:
    for kind, code in NO_ERRORS[frame.family]:  # type: ignore[attr-defined]
        assert counted(program, icmp_error(about(), kind, code)) == ("PASS", "passed_not_tcp")


def test_errors_about_the_kernels_segments_are_the_kernels(
    program: XdpProgram, frame: Frame, about: Callable[..., TcpSegment]
) -> None:
    other = {"v4": "192.0.2.1", "v6": "2001:db8::1"}[frame.family]  # type: ignore[attr-defined]
    for segment in (about(CLAIMED_PORT + 1), about(FLOW_PORT - 1), about(src=other)):
        for kind, code in ERRORS[frame.family]:  # type: ignore[attr-defined]
            assert counted(program, icmp_error(segment, kind, code)) == ("PASS", "passed_not_tcp")


def test_errors_cut_short_are_the_kernels(
    program: XdpProgram, frame: Frame, about: Callable[..., TcpSegment]
) -> None:
    """The ports and the sequence number must be quoted (RFC 792)."""
    kind, code = ERRORS[frame.family][0]  # type: ignore[attr-defined]
    whole = icmp_error(about(), kind, code)
    needed = {"v4": 14 + 20 + 8 + 28, "v6": 14 + 40 + 8 + 48}[frame.family]  # type: ignore[attr-defined]
    for length in range(14, needed):
        assert verdict(program, whole[:length]) == "PASS", length
    assert verdict(program, whole[:needed]) == "DROP"


def test_fragments_of_errors_are_the_kernels(
    program: XdpProgram, frame: Frame, about: Callable[..., TcpSegment]
) -> None:
    if frame.family == "v4":  # type: ignore[attr-defined]
        error = icmp_error(about(), 3, 4, ip_fragment=MORE_FRAGMENTS)
        assert verdict(program, error) == "PASS"
