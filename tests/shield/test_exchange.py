"""Policies and programs exchanged while datagrams come in: once one is dropped, none passes any more."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from underpass.linux.namespaces import until
from underpass.linux.netdev_features import netdev_features
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.xdp.loader import XdpProgram, attached_program

PORT = 9999
SO_RCVBUFFORCE = 33                     # socket(7); Python has no name for it
ROOM_BYTES = 1 << 28                    # of the socket: what it gets is never lost there
MANY = 2000                             # datagrams that come in behind an exchange
NUMBERED = """
import os, socket, sys
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})     # on one CPU they stay in order
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], int(sys.argv[2])))
number = 0
while True:
    sender.send(number.to_bytes(8, "little"))
    number += 1
"""
DROP = '[interface]\ndrop = ["udp"]\n'
RATE = '[[services.rate]]\nper = "source"\nsyns = 50\n'
MORE = {
    "lists": "[lists.bad]\nprefixes = ['198.51.100.0/24']\n",
    "rates": RATE,
    "detection": "[detection]\npackets = 1000000\n",
}


class Traffic:
    """A socket of Linux's to which numbered datagrams come without a pause, behind the program."""

    def __init__(self, veth: VethPair, program: XdpProgram) -> None:
        self.veth, self.program = veth, program
        self.shield = Shield(program, program.netdev.index)
        with veth.ours.entered():
            self.taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.taker.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM_BYTES)
        self.taker.bind((veth.ours.v4, PORT))
        self.taker.settimeout(20)
        self.sender: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        self.sender = subprocess.Popen(self.veth.peer.command(
            sys.executable, "-c", NUMBERED, self.veth.ours.v4, str(PORT)))

    def taken(self) -> list[int]:
        """The numbers of all that have come by now."""
        self.taker.setblocking(False)
        found = []
        try:
            while True:
                found.append(int.from_bytes(self.taker.recv(8), "little"))
        except BlockingIOError:
            return found

    def drops(self) -> int:
        return self.program.counters()["dropped_protocol"]

    def goes_on(self) -> bool:
        """Whether many more come in, and are dropped."""
        before = self.drops()
        return until(lambda: self.drops() >= before + MANY, 30)

    def attached(self) -> int:
        """The number of the program that is attached."""
        with self.veth.ours.entered():
            found = attached_program(self.program.netdev.index)
        assert found is not None
        return found[0]

    def close(self) -> None:
        self.taker.close()
        if self.sender is not None:
            self.sender.kill()
            self.sender.wait()


@pytest.fixture(params=["generic", "native"])
def traffic(veth: VethPair, request: pytest.FixtureRequest) -> Iterator[Traffic]:
    with veth.ours.entered():
        program = XdpProgram(netdev_features(veth.ours.interface), request.param)
    with program, closing(Traffic(veth, program)) as it:
        yield it


def test_the_first_policy_drops_from_some_datagram_on_each_one(traffic: Traffic) -> None:
    """Its program takes the place of one that has no filters."""
    traffic.begin()
    first = int.from_bytes(traffic.taker.recv(8), "little")
    before = traffic.attached()
    traffic.shield.load(policy_file.parse(DROP))
    assert traffic.attached() != before
    assert traffic.goes_on()
    passed = traffic.taken()
    assert [first, *passed] == list(range(1 + len(passed)))


def test_none_passes_while_the_program_gets_more_features(traffic: Traffic) -> None:
    traffic.shield.load(policy_file.parse(DROP))
    traffic.begin()
    assert traffic.goes_on()
    text = DROP
    for feature, more in MORE.items():
        text, before = text + more, traffic.attached()
        traffic.shield.load(policy_file.parse(text))
        assert feature in traffic.program.features
        assert traffic.attached() != before
        assert traffic.goes_on()
    assert traffic.taken() == []


def test_none_passes_while_sources_are_kept_for_another_number(traffic: Traffic) -> None:
    """Each time the program is exchanged for one over another map of sources; the others stay."""
    traffic.shield.load(policy_file.parse("sources = 256\n" + DROP + RATE))
    traffic.begin()
    assert traffic.goes_on()
    for sources in (512, 4096, 256, 65536, 512):
        before = traffic.attached()
        traffic.shield.load(policy_file.parse(f"sources = {sources}\n" + DROP + RATE))
        assert traffic.attached() != before
        assert traffic.goes_on()
    assert traffic.taken() == []
