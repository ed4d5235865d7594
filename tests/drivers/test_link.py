"""AF_XDP on each driver: frames compared octet by octet with what the other end of the wire sent or saw."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.drivers.cards import CARDS, Card
from tests.drivers.machine import Ground, GuestError
from tests.drivers.wire import Wire

from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_wire import toeplitz

PORT = 7
CHECKSUM_V4 = (34, 16)          # behind Ethernet and IPv4 headers, the place in TCP's
DOCTOR = ["doctor", "-i", "virtio", "--json"]
ZERO_COPY = {name: card for name, card in CARDS.items() if card.zero_copy}
SIZES = (10, 64, 999, 1420)     # of payloads; none makes a frame shorter than Ethernet's least


@contextlib.contextmanager
def opened(ground: Ground, **options: Any) -> Iterator[dict[str, Any]]:
    """A link under the interface, with our port claimed; every frame has come back when it is closed."""
    facts = ground.ask("open", claims=[(ground.ours.v4, PORT), (ground.ours.v6, PORT)], **options)
    try:
        yield facts
    except BaseException:
        with contextlib.suppress(GuestError):
            ground.call("close")
        raise
    assert ground.call("close") == 0


def to_us(ground: Ground, family: str = "v4", **more: Any) -> TcpSegment:
    """A segment from the peer to our port."""
    return TcpSegment(src=getattr(ground.peer, family), dst=getattr(ground.ours, family), dst_port=PORT,
                      src_mac=ground.peer.mac_text, dst_mac=ground.ours.mac_text, **more)


def from_us(ground: Ground, family: str = "v4", **more: Any) -> TcpSegment:
    """A segment from our port that Linux does not answer: a reset."""
    return TcpSegment(src=getattr(ground.ours, family), dst=getattr(ground.peer, family), src_port=PORT,
                      src_mac=ground.ours.mac_text, dst_mac=ground.peer.mac_text, flags=Flags.RST, **more)


def ours(frame: bytes) -> bool:
    """Whether a frame carries TCP from our port."""
    with contextlib.suppress(ValueError, IndexError):
        return TcpSegment.parse(frame, verify=False).src_port == PORT
    return False


def assorted(make: Any, ground: Ground) -> list[bytes]:
    """Frames of several sizes over both families."""
    return [make(ground, family, seq=size, payload=os.urandom(size)).build()
            for family in ("v4", "v6") for size in SIZES]


def test_the_driver_is_that_of_the_row(ground: Ground, card: Card) -> None:
    assert ground.ask("facts")["driver"] == card.driver == card.row["driver"]


def test_the_best_path_is_taken(ground: Ground, card: Card, seen: Any) -> None:
    """Native XDP and zero-copy where the driver has them; what is not the better one has its reason."""
    with opened(ground) as facts:
        kernel = facts["kernel"]
        assert facts["mode"] == ("native" if card.native else "generic")
        assert facts["zero_copy"] is card.zero_copy
        assert kernel["attached"][1:] == ["steer", facts["mode"]]
        assert facts["zero_copy"] or facts["why"]["zero_copy"]
        assert facts["queues"] == list(range(kernel["queues"]))
        seen("native XDP", "yes" if facts["mode"] == "native" else "no: generic")
    assert ground.ask("facts")["attached"] is None


@pytest.mark.parametrize("zero_copy", [None, False], ids=["best", "copy"])
def test_received_frames_are_byte_exact(
    ground: Ground, card: Card, peer_wire: Wire, seen: Any, zero_copy: bool | None
) -> None:
    with opened(ground, zero_copy=zero_copy) as facts:
        sent = assorted(to_us, ground)
        peer_wire.send(sent)
        got = ground.call("receive", count=len(sent))
        assert sorted(got["packets"]) == sorted(frame.hex() for frame in sent)
    if zero_copy is None:
        seen("zero-copy receive", "yes" if facts["zero_copy"] else "no: copy")


@pytest.mark.parametrize("zero_copy", [None, False], ids=["best", "copy"])
def test_sent_frames_are_byte_exact_by_every_queue(
    ground: Ground, card: Card, peer_wire: Wire, seen: Any, zero_copy: bool | None
) -> None:
    with opened(ground, zero_copy=zero_copy) as facts:
        for queue in range(len(facts["queues"])):
            sent = assorted(from_us, ground)
            assert ground.call("transmit", packets=[frame.hex() for frame in sent], queue=queue) == len(sent)
            assert sorted(it.octets for it in peer_wire.receive(len(sent), ours)) == sorted(sent)
        assert ground.call("settle")["away"] == 0
    if zero_copy is None:
        seen("zero-copy transmit", "yes" if facts["zero_copy"] else "no: copy")


def test_more_frames_than_the_rings_hold_all_arrive(ground: Ground, peer_wire: Wire) -> None:
    """A thousand frames through rings of 256, in order."""
    frame = from_us(ground, payload=b"again").build()
    with opened(ground, ring_size=256):
        for _ in range(10):
            assert ground.call("transmit", packets=[frame.hex()] * 100) == 100
            assert ground.call("settle")["away"] == 0
        assert [it.octets for it in peer_wire.receive(1000, ours)] == [frame] * 1000


@pytest.mark.parametrize("zero_copy", [None, False], ids=["best", "copy"])
def test_checksums_are_left_to_the_device_where_it_sums(
    ground: Ground, card: Card, peer_wire: Wire, seen: Any, zero_copy: bool | None
) -> None:
    """What arrives is whole, or it is said that the sum is left to whoever puts the frame on a wire."""
    whole = from_us(ground, payload=b"sum me")
    with opened(ground, zero_copy=zero_copy) as facts:
        packets = [whole.build(partial_checksum=True).hex()]
        assert ground.call("transmit", packets=packets, checksum=CHECKSUM_V4) == 1
        (got,) = peer_wire.receive(1, ours)
    assert got.octets == whole.build() or (got.partial and facts["tx_checksum"])
    assert facts["tx_checksum"] is not facts["zero_copy"]
    if zero_copy is None:
        seen("checksum offload", "yes" if facts["tx_checksum"] else "no: not in zero-copy")


@pytest.mark.parametrize("card", ZERO_COPY.values(), ids=ZERO_COPY, indirect=True)
def test_in_zero_copy_mode_the_driver_would_leave_sums_undone(ground: Ground, peer_wire: Wire) -> None:
    """It takes checksum metadata, and does nothing with it: used all the same, wrong sums would be sent."""
    packet = from_us(ground, payload=b"sum me").build(partial_checksum=True)
    with opened(ground, pretend=True) as facts:
        assert facts["tx_checksum"]
        assert facts["kernel"]["xsk"] == []
        ground.call("transmit", packets=[packet.hex()], checksum=CHECKSUM_V4)
        (got,) = peer_wire.receive(1, ours)
    assert (got.octets, got.partial) == (packet, False)


def test_the_kernel_asks_to_be_called_only_when_it_sleeps(ground: Ground, card: Card, seen: Any) -> None:
    """An idle queue that has frames to receive into needs no call; to send, it always does."""
    with opened(ground) as facts:
        flags = ground.call("wakeup_flags")
        assert facts["need_wakeup"]
        assert flags == [[False, True]] * len(facts["queues"])
        seen("need-wakeup", "yes")


def test_flows_come_by_the_queue_that_the_devices_hash_says(
    ground: Ground, card: Card, peer_wire: Wire, seen: Any
) -> None:
    """256 flows of both families. A device that tells its key and table is held to them."""
    with opened(ground) as facts:
        spread = ground.ask("spread")
        sent = [to_us(ground, family, src_port=port, payload=b"which?")
                for family in ("v4", "v6") for port in range(128)]
        peer_wire.send(segment.build() for segment in sent)
        got = ground.call("receive", count=len(sent))
        counters = ground.call("settle")
    assert counters["dropped_no_socket"] == 0
    segments = [TcpSegment.parse(bytes.fromhex(packet)) for packet in got["packets"]]
    arrived = {(it.src, it.src_port): queue for it, queue in zip(segments, got["queues"], strict=True)}
    assert len(arrived) == len(sent)
    assert (spread is not None) is card.tells_hash
    if spread:
        assert arrived == {(it.src, it.src_port): queue_of(it, spread) for it in sent}
    used = len(set(arrived.values()))
    seen("RSS queues", f"{used} of {len(facts['queues'])}" + (", as its hash says" if spread else ""))


@pytest.mark.parametrize("card", [CARDS["virtio"]], ids=["virtio"], indirect=True)
def test_queues_that_are_there_only_with_the_program_are_served_in_copy_mode(
    ground: Ground, card: Card, peer_wire: Wire
) -> None:
    """virtio_net adds them where it has some left, and uses all. Zero-copy on these brings Linux down."""
    few = card.queues // 2
    ground.ask("set_queues", count=few)
    advice = {it["name"]: it for it in json.loads(ground.call("underpass", argv=DOCTOR))}["zero-copy"]
    assert (advice["status"], advice["better"]) == ("warn", f"ethtool -L virtio combined {card.queues}")
    try:
        for _ in range(3):
            with opened(ground) as facts:
                assert (facts["queues"], facts["zero_copy"]) == ([0, 1, 2, 3], False)
                why_not = facts["why"]["zero_copy"]
                assert why_not.endswith(f": `ethtool -L virtio combined {card.queues}` before")
                sent = [to_us(ground, src_port=port, payload=b"which?").build().hex() for port in range(64)]
                peer_wire.send(map(bytes.fromhex, sent))
                got = ground.call("receive", count=len(sent))
            assert sorted(got["packets"]) == sorted(sent)
            assert set(got["queues"]) == {0, 1, 2, 3}
            with pytest.raises(GuestError, match=f"{card.queues} queues instead of {few} while XDP"):
                ground.ask("open", claims=[], zero_copy=True)
            assert ground.ask("facts")["attached"] is None
    finally:
        ground.ask("set_queues", count=card.queues)


def queue_of(segment: TcpSegment, spread: dict[str, Any]) -> int:
    """The queue that a device with this key and table takes."""
    key = bytes.fromhex(spread["key"])
    hashed = toeplitz(key, segment.src, segment.src_port, segment.dst, segment.dst_port)
    return int(spread["indirection"][hashed % len(spread["indirection"])])
