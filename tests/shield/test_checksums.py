"""The filter of checksums: what is summed, what is let be, what Linux's own packets have there."""

import ipaddress
import socket
import struct
from collections.abc import Iterator

import pytest
from tests.shield.loaded import loaded

from underpass.linux.netdev_features import netdev_features
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import End, VethPair
from underpass.testing.packets import TcpSegment, checksum, extension_header
from underpass.testing.probe_xdp import verdict
from underpass.xdp.loader import XdpProgram

POLICY = "[interface]\nchecksums = true\n"
SOURCES = {"v4": "198.51.100.1", "v6": "2001:db8::1"}
LONGEST = 1520                          # octets of a segment or datagram that are summed
UDP = 17


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    with loaded(veth, (veth.ours.v4, 80), (veth.ours.v6, 80)) as it:
        Shield(it, it.netdev.index).load(policy_file.parse(POLICY))
        yield it


def reason(program: XdpProgram, frame: bytes) -> str:
    before = program.counters()
    verdict(program, frame)
    (found,) = [name for name, value in program.counters().items() if value == before[name] + 1]
    return found


def segment(veth: VethPair, family: str, payload: bytes = b"text") -> TcpSegment:
    return TcpSegment(src=SOURCES[family], dst=getattr(veth.ours, family), dst_mac=veth.ours.mac_text,
                      payload=payload)


def datagram(veth: VethPair, family: str, text: bytes, said: int | None = None) -> bytes:
    """A frame with a datagram; its checksum is right (RFC 768), unless another is `said`."""
    it = segment(veth, family)
    head = struct.pack("!HHH", 4000, 5000, 8 + len(text))
    addresses = b"".join(ipaddress.ip_address(address).packed for address in (it.src, it.dst))
    pseudo = addresses + struct.pack("!II", 8 + len(text), UDP)
    right = checksum(pseudo + head + bytes(2) + text) or 0xFFFF
    octets = head + struct.pack("!H", right if said is None else said) + text
    start = 14 + (20 if family == "v4" else 40)
    total = len(octets) + (20 if family == "v4" else 0)
    whole = it.build(payload=b"", protocol=UDP, ip_total_length=total)
    return whole[:start] + octets


def damaged(frame: bytes, at: int = -1) -> bytes:
    """One bit of it is another."""
    octets = bytearray(frame)
    octets[at] ^= 1
    return bytes(octets)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 99, LONGEST - 8])
def test_damaged_datagrams_are_dropped(program: XdpProgram, veth: VethPair, family: str, size: int) -> None:
    """RFC 768: ports, length, text; RFC 8200 8.1."""
    text = bytes(range(256)) * 6
    right = datagram(veth, family, text[:size])
    assert reason(program, right) == "passed_not_tcp"
    assert reason(program, datagram(veth, family, text[:size], said=0x1234)) == "dropped_checksum"
    if size:
        assert reason(program, damaged(right)) == "dropped_checksum"
    assert reason(program, damaged(right, 14 + (20 if family == "v4" else 40))) == "dropped_checksum"


def test_a_datagram_without_a_checksum(program: XdpProgram, veth: VethPair) -> None:
    """RFC 768: zero is none, and IPv4 needs none; RFC 8200 8.1: IPv6 does."""
    assert reason(program, datagram(veth, "v4", b"text", said=0)) == "passed_not_tcp"
    assert reason(program, datagram(veth, "v6", b"text", said=0)) == "dropped_checksum"


@pytest.mark.parametrize("tags", [(5,), (5, 10)])
def test_behind_tags(program: XdpProgram, veth: VethPair, family: str, tags: tuple[int, ...]) -> None:
    it = segment(veth, family)
    assert reason(program, it.build(vlan=tags)) == "dropped_no_socket"
    assert reason(program, it.build(vlan=tags, tcp_checksum=0x1234)) == "dropped_checksum"
    assert reason(program, damaged(it.build(vlan=tags))) == "dropped_checksum"


@pytest.mark.parametrize("words", [1, 2, 10])
def test_behind_ip_options(program: XdpProgram, veth: VethPair, words: int) -> None:
    """RFC 791 3.1: options are under the header's checksum, too."""
    options = b"\1" * (4 * words)
    whole = segment(veth, "v4").build(ip_options=options)
    assert reason(program, whole) == "dropped_no_socket"
    assert reason(program, damaged(whole, 14 + 20 + 4 * words - 1)) == "dropped_checksum"
    assert reason(program, damaged(whole)) == "dropped_checksum"


def test_behind_extension_headers(program: XdpProgram, veth: VethPair) -> None:
    """RFC 8200 8.1: the length in the pseudo-header is without them."""
    chain = ((0, extension_header(60)), (60, extension_header(6, bytes(30))))
    whole = segment(veth, "v6").build(extensions=chain)
    assert reason(program, whole) == "dropped_no_socket"
    assert reason(program, damaged(whole)) == "dropped_checksum"


@pytest.mark.parametrize("size", [LONGEST - 3, LONGEST - 2, LONGEST - 1, LONGEST, LONGEST + 1, LONGEST + 500])
def test_what_is_longer_than_is_summed_is_let_be(
    program: XdpProgram, veth: VethPair, family: str, size: int
) -> None:
    """But for IPv4's header."""
    whole = segment(veth, family, bytes(size - 20)).build()
    assert reason(program, whole) == "dropped_no_socket"
    assert reason(program, damaged(whole)) == ("dropped_checksum" if size <= LONGEST else "dropped_no_socket")
    if family == "v4":
        assert reason(program, damaged(whole, 14 + 8)) == "dropped_checksum"        # its time to live


def test_padding_is_not_summed(program: XdpProgram, veth: VethPair, family: str) -> None:
    """RFC 894: a frame has 60 octets at least."""
    assert reason(program, segment(veth, family, b"").build(padding=b"\x55" * 6)) == "dropped_no_socket"


def test_fragments_are_let_be(program: XdpProgram, veth: VethPair) -> None:
    """Who puts them together sums them."""
    whole = segment(veth, "v4").build(dst_port=81, ip_fragment=0x2000, tcp_checksum=0x1234)
    assert reason(program, whole) == "passed_fragment"


def listener(end: End, family: str, kind: socket.SocketKind, port: int) -> socket.socket:
    with end.entered():
        sock = socket.socket({"v4": socket.AF_INET, "v6": socket.AF_INET6}[family], kind)
    sock.settimeout(20)
    if port:
        sock.bind((getattr(end, family), port))
    return sock


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("offload", ["on", "off"])
def test_linuxs_own_packets_have_none_yet_and_pass(
    veth: VethPair, family: str, mode: str, offload: str
) -> None:
    """What Linux leaves to the device crosses a veth pair with the sum of the pseudo-header alone."""
    veth.peer.run("ethtool", "-K", veth.peer.interface, "tx", offload)
    ours = getattr(veth.ours, family)
    with veth.ours.entered():
        program = XdpProgram(netdev_features(veth.ours.interface), mode)
        Shield(program, program.netdev.index).load(policy_file.parse(POLICY))
    with program, listener(veth.ours, family, socket.SOCK_DGRAM, 5000) as datagrams, \
            listener(veth.ours, family, socket.SOCK_STREAM, 5000) as streams, \
            listener(veth.peer, family, socket.SOCK_DGRAM, 0) as asker, \
            listener(veth.peer, family, socket.SOCK_STREAM, 0) as client:
        asker.sendto(b"datagram", (ours, 5000))
        assert datagrams.recv(100) == b"datagram"
        streams.listen()
        client.connect((ours, 5000))
        with streams.accept()[0] as taken:
            client.sendall(b"stream")
            assert taken.recv(100) == b"stream"
        assert program.counters()["dropped_checksum"] == 0
