"""AF_XDP over real veth pairs: byte-exact frames, returned references, the kernel undisturbed beside it."""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from underpass.link.afxdp import AfXdpLink, chunk_bytes_for
from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.linux.namespaces import until
from underpass.linux.netdev_features import netdev_features
from underpass.testing.namespaces import End, VethPair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_link import LinkProbe
from underpass.xdp.loader import XdpProgram

PORT = 7
TX_CHECKSUM, RX_PARTIAL, SEGMENTATION = 1, 2, 4


@dataclass
class End:
    """One end of a pair with everything on it."""

    space: End
    program: XdpProgram
    link: AfXdpLink
    probe: LinkProbe

    def expect(self, count: int, room: int = 64) -> list[bytes]:
        """Packets received until so many came, or none for two seconds."""
        packets: list[bytes] = []
        while len(packets) < count:
            got = self.probe.receive(room=room)
            packets += got
            if not got and not select.select([self.link.wait_fd], [], [], 2)[0]:
                break
        return packets

    def settle(self) -> None:
        """Until every sent frame has come back, or two seconds have passed."""
        end = time.monotonic() + 2
        held = sum(min(2048, self.link.frames.count // (2 * len(self.link.queues))) for _ in self.link.queues)
        while self.link.frames.free < self.link.frames.count - held and time.monotonic() < end:
            self.probe.receive()
            time.sleep(0.001)


@pytest.fixture
def open_end() -> Iterator[Callable[..., End]]:
    """Opens an end: program with port 7 claimed in both families, frames, link. All are closed at the end."""
    with ExitStack() as opened:

        def open_one(
            space: End, mode: str = "auto", frames: int = 4096, chunk: int = 0, **more: Any
        ) -> End:
            with space.entered():
                netdev = netdev_features(space.interface)
                program = opened.enter_context(XdpProgram(netdev, mode))
                for address in (space.v4, space.v6):
                    program.claim(address, PORT)
                pool = Frames(frames, chunk or chunk_bytes_for(netdev.mtu))
                link = AfXdpLink(pool, netdev, program=program, **more)
            opened.callback(link.close)
            return End(space, program, link, LinkProbe(link))

        yield open_one


def segment(sender: End, receiver: End, family: str = "v4", **more: Any) -> TcpSegment:
    return TcpSegment(
        src=getattr(sender, family), dst=getattr(receiver, family), src_port=PORT, dst_port=PORT,
        src_mac=sender.mac_text, dst_mac=receiver.mac_text, **more,
    )  # fmt: skip


def swapped(frame: bytes) -> bytes:
    """The frame on its way back: MAC and IP addresses change places, which leaves every checksum right."""
    start = 14
    while frame[start - 2 : start] == b"\x81\x00":
        start += 4
    size, at = (4, start + 12) if frame[start] >> 4 == 4 else (16, start + 8)
    source, destination = frame[at : at + size], frame[at + size : at + 2 * size]
    return frame[6:12] + frame[:6] + frame[12:at] + destination + source + frame[at + 2 * size :]


@pytest.mark.parametrize(
    ("mode", "mtu"), [("native", 1500), ("generic", 1500), ("native", 3000), ("native", 9000)]
)
def test_echo_is_byte_exact(
    make_veth: Callable[..., VethPair], open_end: Callable[..., End], mode: str, mtu: int
) -> None:
    """Each size, with no, one and two VLAN tags, IPv4 and IPv6, there and back."""
    pair = make_veth(mtu=mtu)
    ours, peer = open_end(pair.ours, mode), open_end(pair.peer, mode)
    sent = [
        segment(pair.peer, pair.ours, family, vlan=vlan, payload=os.urandom(size)).build()
        for family in ("v4", "v6") for vlan in ((), (5,), (5, 6)) for size in (0, 1, 999, mtu - 80)
    ]  # fmt: skip
    assert peer.probe.transmit(sent) == len(sent)
    arrived = ours.expect(len(sent))
    assert arrived == sent
    assert ours.probe.transmit(map(swapped, arrived)) == len(sent)
    assert peer.expect(len(sent)) == [swapped(frame) for frame in sent]
    assert ours.program.counters()["redirected_claimed"] == len(sent)
    assert ours.link.multi_buffer == (mtu == 9000 or mode == "generic")


def test_small_frames_carry_a_packet_in_parts(
    make_veth: Callable[..., VethPair], open_end: Callable[..., End]
) -> None:
    """Frames of 2048 at an MTU of 3000: a packet is two descriptors, the first with DESC_CONTINUES."""
    pair = make_veth(mtu=3600)
    ours, peer = open_end(pair.ours, chunk=2048), open_end(pair.peer, chunk=2048)
    sent = [segment(pair.peer, pair.ours, payload=os.urandom(3500)).build()]
    assert peer.probe.transmit(sent) == 1
    assert ours.expect(1) == sent


def test_a_packet_of_more_parts_than_a_batch_is_dropped(
    make_veth: Callable[..., VethPair], open_end: Callable[..., End]
) -> None:
    pair = make_veth(mtu=9000)
    ours, peer = open_end(pair.ours), open_end(pair.peer)
    short = segment(pair.peer, pair.ours, payload=b"after").build()
    assert peer.probe.transmit([segment(pair.peer, pair.ours, payload=bytes(8900)).build(), short]) == 2
    assert ours.expect(1, room=2) == [short]
    assert ours.link.stats()["rx_too_long"] == 1
    ours.link.close()
    assert ours.link.frames.free == ours.link.frames.count


def test_how_full_the_receive_ring_is_counts_what_has_not_been_looked_at(
    veth: VethPair, open_end: Callable[..., End]
) -> None:
    """In 256ths of 2048 entries: what a worker that does not keep up has before it."""
    ours, peer = open_end(veth.ours), open_end(veth.peer)
    frame = segment(veth.peer, veth.ours).build()
    assert ours.probe.waiting == 0
    for _ in range(4):
        peer.probe.transmit([frame] * 128)
        peer.settle()
    assert until(lambda: ours.probe.waiting == 64, 2)
    ours.expect(256)
    assert ours.probe.waiting == 32
    assert LinkProbe(memory_pair(Frames(64), Frames(64))[0]).waiting is None


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_5000_frames_all_complete(veth: VethPair, open_end: Callable[..., End], mode: str) -> None:
    ours, peer = open_end(veth.ours, mode), open_end(veth.peer, mode)
    frame = segment(veth.ours, veth.peer).build()
    free, sent, arrived = ours.link.frames.free, 0, 0
    while sent < 5000:
        sent += ours.probe.transmit([frame] * min(250, 5000 - sent))
        arrived += len(peer.probe.receive(room=1024))
        ours.probe.receive()
    arrived += len(peer.expect(5000 - arrived))
    ours.settle()
    assert arrived == 5000
    assert ours.link.frames.free == free
    ours.link.close()
    assert ours.link.frames.free == ours.link.frames.count


def test_close_gives_every_frame_back(veth: VethPair, open_end: Callable[..., End]) -> None:
    """Frames in the fill ring, received and not yet taken, sent and not yet completed."""
    ours, peer = open_end(veth.ours), open_end(veth.peer)
    peer.probe.transmit([segment(veth.peer, veth.ours).build()] * 100)
    ours.probe.transmit([segment(veth.ours, veth.peer).build()] * 100)
    for end in (ours, peer):
        end.link.close()
        end.link.close()
        assert end.link.frames.free == end.link.frames.count
        assert end.probe.receive() == []
        assert end.probe.transmit([bytes(60)]) == 0


def test_an_empty_pool_loses_nothing_but_packets(veth: VethPair, open_end: Callable[..., End]) -> None:
    ours, peer = open_end(veth.ours, frames=64, ring_size=64), open_end(veth.peer)
    frame = segment(veth.peer, veth.ours).build()
    peer.probe.transmit([frame] * 1000)
    peer.settle()
    ours.expect(1000)
    peer.probe.transmit([frame])
    assert ours.expect(1) == [frame]
    ours.link.close()
    assert ours.link.frames.free == 64


def test_the_device_fills_the_checksum_in(veth: VethPair, open_end: Callable[..., End]) -> None:
    """With fill_checksum the receiver finds it complete; the peer need not be one that takes partial ones."""
    ours, peer = open_end(veth.ours, fill_checksum=True), open_end(veth.peer)
    assert ours.link.tx_checksum
    assert ours.probe.offloads == TX_CHECKSUM | RX_PARTIAL
    whole = segment(veth.ours, veth.peer, payload=b"sum me")
    partial = whole.build(partial_checksum=True)
    assert partial != whole.build()
    assert ours.probe.transmit([partial], checksum=(34, 16)) == 1
    assert peer.expect(1) == [whole.build()]


def test_without_the_offload_the_link_sums_itself(veth: VethPair, open_end: Callable[..., End]) -> None:
    ours, peer = open_end(veth.ours, checksum=False), open_end(veth.peer)
    assert ours.probe.offloads == RX_PARTIAL | SEGMENTATION
    assert ours.link.why["tx_checksum"] == "it was switched off"
    whole = segment(veth.ours, veth.peer, payload=b"sum me")
    assert ours.probe.transmit([whole.build(partial_checksum=True)], checksum=(34, 16)) == 1
    assert peer.expect(1) == [whole.build()]


def test_several_queues_share_the_frames(
    make_veth: Callable[..., VethPair], open_end: Callable[..., End]
) -> None:
    pair = make_veth(queues=3)
    ours, peer = open_end(pair.ours, queues=range(3)), open_end(pair.peer, queues=range(3))
    for queue in range(3):
        frame = segment(pair.ours, pair.peer, payload=bytes([queue])).build()
        assert ours.probe.transmit([frame] * 10, queue=queue) == 10
        assert peer.expect(10) == [frame] * 10
        assert set(peer.probe.queues) <= {0, 1, 2}
    ours.link.close()
    assert ours.link.frames.free == ours.link.frames.count


def test_the_kernel_keeps_what_is_not_claimed(veth: VethPair, open_end: Callable[..., End]) -> None:
    """Ping and TCP on another port of the same address are Linux's; the claimed port is ours."""
    ours = open_end(veth.ours)
    for address in (veth.ours.v4, veth.ours.v6):
        assert veth.peer.run("ping", "-c1", "-W2", address).returncode == 0
    with veth.ours.entered():
        server = socket.create_server((veth.ours.v4, 8080))
    with veth.peer.entered(), server, socket.create_connection((veth.ours.v4, 8080), timeout=5) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"by Linux")
            assert client.recv(100) == b"by Linux"
    with veth.peer.entered(), socket.socket() as client:
        client.setblocking(False)
        client.connect_ex((veth.ours.v4, PORT))
        (syn,) = ours.expect(1)
    assert TcpSegment.parse(syn, verify=False).dst_port == PORT


def test_claimed_is_dropped_once_the_socket_is_gone(veth: VethPair, open_end: Callable[..., End]) -> None:
    """No RST from the kernel: the connection attempt meets silence."""
    ours = open_end(veth.ours)
    ours.link.close()
    with veth.peer.entered(), socket.socket() as client:
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.connect((veth.ours.v4, PORT))
    assert ours.program.counters()["dropped_no_socket"] >= 1


def test_a_queue_can_be_bound_again_at_once(veth: VethPair, open_end: Callable[..., End]) -> None:
    ours = open_end(veth.ours)
    for _ in range(5):
        ours.link.close()
        with veth.ours.entered():
            ours.link = AfXdpLink(Frames(256), netdev_features("up0"), program=ours.program)
    ours.link.close()


def test_errors_say_what_is_wrong(veth: VethPair, open_end: Callable[..., End]) -> None:
    ours = open_end(veth.ours)
    with veth.ours.entered():
        netdev = netdev_features("up0")
        with pytest.raises(OSError, match="queue 0 of up0 is in use by another AF_XDP socket") as taken:
            AfXdpLink(Frames(256), netdev)
        with pytest.raises(OSError, match="up0 has no queue 9: it has 1"):
            AfXdpLink(Frames(256), netdev, queues=[9])
    assert taken.value.errno == errno.EBUSY
    ours.link.close()
    with veth.ours.entered():
        with pytest.raises(OSError, match="the driver of up0, veth, has no zero-copy AF_XDP"):
            AfXdpLink(Frames(256), netdev, zero_copy=True)
        with pytest.raises(ValueError, match="power of two"):
            AfXdpLink(Frames(256), netdev, ring_size=100)
        with pytest.raises(ValueError, match="different numbers"):
            AfXdpLink(Frames(256), netdev, queues=[0, 0])


def test_what_is_active_is_told(veth: VethPair, open_end: Callable[..., End]) -> None:
    link = open_end(veth.ours, "generic").link
    assert (link.mode, link.zero_copy, link.need_wakeup, link.busy_poll) == ("generic", False, True, False)
    assert link.why["native"] == "generic XDP was asked for"
    assert link.why["zero_copy"] == "generic XDP copies"
    assert link.why["busy_poll"] == "it was not asked for"


@pytest.mark.parametrize(
    ("mtu", "unit", "octets"),
    [(1280, 1, 2048), (1500, 1, 2048), (1770, 1, 2048), (1771, 1, 4096), (9000, 1, 4096),
     (1002, 1024, 2048), (1003, 1024, 4096), (1500, 1024, 4096)],
)
def test_chunk_size_follows_the_mtu(mtu: int, unit: int, octets: int) -> None:
    assert chunk_bytes_for(mtu, unit) == octets
