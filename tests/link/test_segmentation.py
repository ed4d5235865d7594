"""Segmentation offload over real veth pairs: what is one packet for us arrives as the kernel's own stream."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import underpass
from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.linux.netdev_features import netdev_features
from underpass.nic import Nic
from underpass.testing.namespaces import VethPair

OCTETS = 3_000_000
PORT = 7000


def sent_to_the_kernel(pair: VethPair, address: str, **options: object) -> tuple[bytes, Nic]:
    """What a kernel client receives of a stream, and the interface that sent it."""
    data = os.urandom(OCTETS)
    with pair.ours.entered():
        nic = underpass.attach(pair.ours.interface, source_ports=0, **options)  # type: ignore[arg-type]
        stack = nic.stack()
        stack.listen((address, PORT))
    with pair.peer.entered():
        client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        client.setblocking(False)
        client.connect_ex((address, PORT))
    left, got = memoryview(data), hashlib.sha256()
    received = 0
    while received < OCTETS:
        with pair.ours.entered():
            for conn, ready in stack.poll(0.01):
                if ready & (underpass.ACCEPTED | underpass.WRITABLE) and left:
                    left = left[conn.send(left) :]
        try:
            part = client.recv(1 << 20)
        except BlockingIOError:
            continue
        got.update(part)
        received += len(part)
    client.close()
    assert got.digest() == hashlib.sha256(data).digest()
    return data, nic


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize(("mtu", "offloads"), [(1500, "on"), (1500, "off"), (9000, "on")])
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_stream_arrives_unchanged(
    make_veth: Callable[..., VethPair], family: str, mtu: int, offloads: str, mode: str
) -> None:
    """The device takes packets whole, or the kernel cuts them up before it: either way we hand over few."""
    pair = make_veth(mtu=mtu)
    for end in (pair.ours, pair.peer):
        end.run("ethtool", "-K", end.interface, "tso", offloads, "gso", offloads, "gro", offloads)
    _, nic = sent_to_the_kernel(pair, getattr(pair.ours, family), mode=mode)
    with nic, pair.ours.entered():
        link = nic.link.stats()
        assert nic.describe()["segmentation"]
        assert link["tx_segmented"] > 20
        assert link["tx_failed"] == 0
        assert nic.stack().stats()["tcp"]["trains"] == link["tx_segmented"]


def test_it_can_be_switched_off(veth: VethPair) -> None:
    _, nic = sent_to_the_kernel(veth, veth.ours.v4, segmentation=False)
    with nic, veth.ours.entered():
        assert nic.link.stats()["tx_segmented"] == 0
        assert nic.describe()["why_not"]["segmentation"] == "it was switched off"


def test_the_packet_socket_goes_with_the_link(veth: VethPair) -> None:
    def packet_sockets() -> int:
        with veth.ours.entered():
            return len(Path("/proc/thread-self/net/packet").read_text().splitlines()) - 1

    with veth.ours.entered():
        link = AfXdpLink(Frames(256), netdev_features(veth.ours.interface))
    assert link.segmentation
    assert packet_sockets() == 1
    link.close()
    assert packet_sockets() == 0
