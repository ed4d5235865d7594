"""A process that is killed at its rings: the next one knows which frames the kernel has, and none is lost."""

import os
import select
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from tests.link.test_afxdp import PORT, End, open_end
from tests.stack.stepping import stepped

from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.linux.netdev_features import netdev_features
from underpass.stack.stack import Stack
from underpass.testing.invariants import is_midway, what_is_broken
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.xdp.loader import XdpProgram

__all__ = ["open_end"]

FRAMES, RING = 512, 64
EVERY = 577                         # instructions, from one kill to the next
ROUND = 12                          # SYNs at a time
ACK_AT = 14 + 20 + 8
DEVICE_HAS_SOME = "every frame is free or in a queue where the device holds none (in all)"


class Mortal:
    """A stack over sockets that outlive its process. It answers each SYN by a reset, for nobody listens."""

    def __init__(self, pair: VethPair, program: XdpProgram) -> None:
        self.pair = pair
        self.netdev = netdev_features(pair.ours.interface)
        self.frames = Frames(FRAMES)
        self.opened = AfXdpLink(self.frames, self.netdev, program=program, ring_size=RING, run=False)
        self.stack = Stack(self.link(self.frames), self.netdev.mac, seed=bytes(16), connections=16)
        self.stack.set_addresses([(pair.ours.v4, 24)])
        self.opened.register()

    def link(self, frames: Frames, **more: bool) -> AfXdpLink:
        return AfXdpLink(frames, self.netdev, ring_size=RING, adopted=self.opened.facts() | more,
                         adopted_fds=[os.dup(it) for it in self.opened.all_fds])

    def step(self) -> None:
        self.stack.step(time.monotonic_ns())

    def go_on(self) -> None:
        """Its process has died."""
        frames = Frames(FRAMES, memfd=self.frames.memfd, resume=True)
        link = self.link(frames, resumed=True, mend=True)
        self.stack = Stack(link, self.netdev.mac, arena=self.stack.arena.memfd, crashed=True, connections=16)


@pytest.fixture
def mortal(veth: VethPair) -> Iterator[Mortal]:
    with veth.ours.entered():
        netdev = netdev_features(veth.ours.interface)
        with XdpProgram(netdev) as program:
            program.claim(veth.ours.v4, PORT)
            yield Mortal(veth, program)


def test_no_frame_is_lost_wherever_it_dies(
    veth: VethPair, mortal: Mortal, open_end: Callable[..., End],
) -> None:  # fmt: skip
    peer = open_end(veth.peer)
    numbers = count(1)
    answered = 0

    def ask() -> list[int]:
        """SYNs that lie in the receive ring; their sequence numbers."""
        asked = [next(numbers) for _ in range(ROUND)]
        peer.probe.transmit(syn(veth, seq=seq) for seq in asked)
        assert select.select([mortal.stack.link.wait_fd], [], [], 5)[0]
        return asked

    def answers() -> set[int]:
        return {int.from_bytes(it[ACK_AT : ACK_AT + 4]) - 1 for it in peer.probe.receive()}

    for instructions in count(0, EVERY):
        ask()
        with stepped(mortal.step) as child:
            while not is_midway(mortal.stack):
                child.step()
            for _ in range(instructions):
                child.step()
                if not is_midway(mortal.stack):
                    break
            else:
                assert not child.ended
        died = is_midway(mortal.stack)
        mortal.go_on()
        wanted = set(ask())
        for _ in range(1000):
            mortal.step()
            wanted -= answers()
            if not wanted and mortal.stack.link.frames.free == FRAMES - RING:
                break
        assert not wanted
        assert mortal.stack.link.frames.lent == RING
        assert mortal.stack.link.frames.free == FRAMES - RING
        assert what_is_broken(mortal.stack) == DEVICE_HAS_SOME
        answered += 1
        if not died:
            break
    assert answered > 20


def syn(veth: VethPair, **more: Any) -> bytes:
    return TcpSegment(src=veth.peer.v4, dst=veth.ours.v4, src_port=PORT, dst_port=PORT, flags=Flags.SYN,
                      src_mac=veth.peer.mac_text, dst_mac=veth.ours.mac_text, **more).build()
