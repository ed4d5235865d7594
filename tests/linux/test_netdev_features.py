"""What AF_XDP is told of a driver beside what the kernel says of it."""

import dataclasses
import errno

import pytest

from underpass.link.afxdp import AfXdpLink, chunk_bytes_for
from underpass.link.frames import Frames
from underpass.linux import interface
from underpass.linux import netdev_features as features
from underpass.linux.netdev_features import NetdevFeatures, as_attached, netdev_features
from underpass.testing.namespaces import VethPair

VIRTIO = NetdevFeatures(name="eth0", index=1, mac=bytes(6), mtu=1500, driver="virtio_net", queues=2,
                        zero_copy=True, zero_copy_checksum=False)
WHY = ("virtio_net has 4 queues instead of 2 while XDP is attached, and Linux may crash with zero-copy on"
       " those: `ethtool -L eth0 combined 8` before")


def test_queues_that_come_with_the_program_are_used_in_copy_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "channels", lambda _: 4)
    monkeypatch.setattr(interface, "most_channels", lambda _: 8)
    attached = as_attached(VIRTIO)
    assert (attached.queues, attached.copy_because) == (4, WHY)
    assert as_attached(dataclasses.replace(VIRTIO, queues=4)).copy_because == ""
    other = as_attached(dataclasses.replace(VIRTIO, driver="other"))
    assert (other.queues, other.copy_because) == (4, "")


def test_a_driver_that_does_not_tell_keeps_the_queues_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "channels", lambda _: 0)
    assert as_attached(VIRTIO) == VIRTIO


@pytest.mark.parametrize(("kernel", "modes", "whole"), [
    ((6, 1), ("native", "generic"), False), ((6, 6), ("native", "generic"), True),
    ((6, 9), ("generic", "native"), True)])
def test_large_packets_are_asked_for_where_the_kernel_has_them(
    monkeypatch: pytest.MonkeyPatch, kernel: tuple[int, int], modes: tuple[str, str], whole: bool,
) -> None:
    """AF_XDP since Linux 6.6, generic XDP since 6.9; a socket that asks for them before is refused."""
    monkeypatch.setattr(features, "kernel_version", lambda: kernel)
    veth = dataclasses.replace(VIRTIO, driver="veth", queues=1)
    assert veth.modes() == modes
    for other in (veth.modes(whole=False), dataclasses.replace(veth, threaded=True).modes()):
        assert other == ("native", "generic")
    for driver in ("veth", "bridge", "macvlan", "virtio_net"):
        device = dataclasses.replace(veth, driver=driver)
        assert (device.hands_over_whole("generic"), device.hands_over_whole("native")) == (whole, False)


def test_the_reason_to_copy_is_told_and_demanded_zero_copy_refused(veth: VethPair) -> None:
    with veth.ours.entered():
        netdev = dataclasses.replace(netdev_features("up0"), zero_copy=True, copy_because=WHY)
        link = AfXdpLink(Frames(256), netdev)
        assert (link.zero_copy, link.why["zero_copy"]) == (False, WHY)
        link.close()
        with pytest.raises(OSError, match="virtio_net has 4 queues instead of 2") as refused:
            AfXdpLink(Frames(256), netdev, zero_copy=True)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_what_zero_copy_needs_of_a_virtual_device_is_told(veth: VethPair) -> None:
    with veth.ours.entered():
        netdev = dataclasses.replace(netdev_features("up0"), driver="virtio_net", zero_copy=True)
        link = AfXdpLink(Frames(256), netdev)
        assert link.why["zero_copy"] == "the virtual device has to be made with iommu_platform=on"
        link.close()
        with pytest.raises(OSError, match="no zero-copy AF_XDP on up0: the virtual device has to be"):
            AfXdpLink(Frames(256), netdev, zero_copy=True)


@pytest.mark.parametrize(("driver", "octets"), [("igb", 4096), ("igc", 4096), ("ixgbe", 4096), ("ice", 2048)])
def test_frames_are_as_large_as_the_driver_has_to_be_told(driver: str, octets: int) -> None:
    """1,792 octets of a frame of 2,048 are 1 KiB to some cards."""
    netdev = dataclasses.replace(VIRTIO, driver=driver)
    assert chunk_bytes_for(netdev.mtu, netdev.receive_unit) == octets
