"""The link over DPDK: packets come as they were sent, no frame is lost, devices can be made anew.

EAL stays in a process once it runs, so each test has a process of its own.
"""

import subprocess
import sys

import pytest

from underpass import nic

SETUP = """
from underpass.link.dpdk import DpdkLink
from underpass.link.frames import Frames
from underpass.testing.probe_link import LinkProbe
frames = Frames(256)
link = DpdkLink(frames, "net_ring0")
probe = LinkProbe(link)
"""
PACKETS = """
packets = [bytes([number]) * (60 + number) for number in range(100)]
assert probe.transmit(packets) == 100
assert frames.free == 256
got = []
while more := probe.receive():
    got += more
assert got == packets
assert frames.free == 256
stats = link.stats()
octets = sum(map(len, packets))
assert (stats["tx_packets"], stats["tx_bytes"]) == (100, octets)
assert (stats["rx_packets"], stats["rx_bytes"]) == (100, octets)
assert stats["tx_kicks"] == 4               # bursts of 32
assert link.label == "DPDK over a ring in memory" and link.fds == [] and link.wait_fd == -1
"""
FULL_RING = """
sent = sum(probe.transmit([b"x" * 60] * 200) for _ in range(20))
assert 0 < sent < 4000
assert link.stats()["tx_refused"] > 0
assert frames.free == 256
got = 0
while more := probe.receive():
    got += len(more)
assert got == sent
"""
TOO_LONG = """
assert probe.transmit([b"a" * 60, b"b" * 3000, b"c" * 60]) == 3
assert link.stats()["tx_invalid"] == 1
assert probe.receive() == [b"a" * 60, b"c" * 60]
assert frames.free == 256
"""
CLOSED = """
for _ in range(3):
    link.close()
    link.close()
    assert probe.receive() == [] and probe.transmit([b"x" * 60]) == 0
    assert frames.free == 256
    link = DpdkLink(frames, "net_ring0")
    probe = LinkProbe(link)
    assert probe.transmit([b"y" * 60]) == 1
    assert probe.receive() == [b"y" * 60]
"""
REFUSED = """
for vdev, error, said in (("net_null0", ValueError, "net_af_xdp, net_af_packet, net_tap, net_ring"),
                          ("net_ring0", OSError, "this process has a net_ring0 already"),
                          ("net_af_packet0,iface=none", OSError, "DPDK does not make net_af_packet0")):
    try:
        DpdkLink(Frames(256), vdev)
    except error as what:
        assert said in str(what), what
    else:
        raise AssertionError(vdev)
try:
    DpdkLink(Frames(256), "net_ring1", mtu=9000)
except ValueError as what:
    assert "lower it to 1770" in str(what), what
else:
    raise AssertionError("an MTU of 9000")
assert probe.transmit([b"z" * 60]) == 1 and probe.receive() == [b"z" * 60]
"""


def run(text: str) -> None:
    done = subprocess.run([sys.executable, "-c", SETUP + text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""         # EAL keeps quiet


@pytest.mark.parametrize("text", [PACKETS, FULL_RING, TOO_LONG, CLOSED, REFUSED])
def test_ring(text: str) -> None:
    pytest.importorskip("underpass.link.dpdk", reason="built without DPDK: libdpdk-dev was not there")
    run(text)


def test_where_dpdk_is_not_there_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "underpass.link.dpdk", None)
    with pytest.raises(OSError, match="built without DPDK: install libdpdk-dev") as caught:
        nic.over_dpdk(None, None, [0])  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
