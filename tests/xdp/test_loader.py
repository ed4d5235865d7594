"""Attaching, and what is said where it cannot be done; the attachment ends with its owner."""

import contextlib
import dataclasses
import errno
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from underpass.linux.netdev_features import NetdevFeatures, netdev_features
from underpass.testing.namespaces import End, VethPair
from underpass.xdp.loader import XdpProgram, attached_program

OWNER = """
import sys, time
from underpass.linux.netdev_features import netdev_features
from underpass.xdp.loader import XdpProgram
program = XdpProgram(netdev_features(sys.argv[1]))
print("attached", flush=True)
time.sleep(60)
"""


def features(end: End) -> NetdevFeatures:
    with end.entered():
        return netdev_features(end.interface)


def attached(end: End) -> tuple[int, str, str] | None:
    with end.entered():
        return attached_program(features(end).index)


def attach(end: End, mode: str = "auto", multi_buffer: bool | None = None) -> XdpProgram:
    with end.entered():
        return XdpProgram(features(end), mode, multi_buffer)


@pytest.mark.parametrize(
    ("asked", "taken"), [("auto", "generic"), ("native", "native"), ("generic", "generic")]
)
def test_attaches_in_the_mode_that_it_tells(veth: VethPair, asked: str, taken: str) -> None:
    with attach(veth.ours, asked) as program:
        assert program.mode == taken
        found = attached(veth.ours)
        assert found is not None
        assert found[1:] == ("steer_frags" if taken == "generic" else "steer", taken)
        assert (program.why_not_better is None) == (taken == "native")
    assert attached(veth.ours) is None


def test_native_is_taken_where_a_veth_has_threads_or_queues_or_a_packet_must_fit_a_frame(
    veth: VethPair, make_veth: Callable[..., VethPair],
) -> None:
    with attach(veth.ours, multi_buffer=False) as program:
        assert (program.mode, program.why_not_better) == ("native", None)
    threaded = dataclasses.replace(features(veth.ours), threaded=True)
    with veth.ours.entered(), XdpProgram(threaded) as program:
        assert (program.mode, program.why_not_better) == ("native", None)
    with attach(make_veth(queues=2).ours) as program:
        assert (program.mode, program.why_not_better) == ("native", None)


def test_that_receive_work_has_threads_is_seen(veth: VethPair) -> None:
    veth.ours.run("ethtool", "-K", veth.ours.interface, "gro", "on")        # a veth has no NAPI before
    ask = (sys.executable, "-c", "from underpass.linux.netdev_features import netdev_features\n"
                                 f"print(netdev_features({veth.ours.interface!r}).threaded)")
    assert veth.ours.run(*ask).stdout == "False\n"
    veth.ours.run("sh", "-c", f"echo 1 > /sys/class/net/{veth.ours.interface}/threaded")
    assert veth.ours.run(*ask).stdout == "True\n"


def test_generic_is_taken_and_announced_where_the_driver_has_no_native(veth: VethPair) -> None:
    """The loopback driver has no native XDP."""
    with veth.ours.entered():
        lo = NetdevFeatures("lo", 1, bytes(6), 1500, "unknown", 1, None, False)
        with XdpProgram(lo) as program:
            assert program.mode == "generic"
            assert "native XDP on lo" in str(program.why_not_better)
        with pytest.raises(OSError, match="native XDP on lo") as refused:
            XdpProgram(lo, "native")
        assert refused.value.errno == errno.EOPNOTSUPP


def test_a_second_program_is_refused_by_name(veth: VethPair) -> None:
    with attach(veth.ours, "native"):
        program_id = attached(veth.ours)[0]  # type: ignore[index]
        with pytest.raises(
            OSError, match=rf"up0 already runs XDP program 'steer' \(id {program_id}, native\)"
        ) as it:
            attach(veth.ours, "generic")
        assert it.value.errno == errno.EBUSY


def test_a_jumbo_mtu_takes_the_program_for_several_buffers(make_veth: Callable[..., VethPair]) -> None:
    pair = make_veth(mtu=9000)
    with attach(pair.ours) as program:
        assert program.multi_buffer
        assert attached(pair.ours)[1] == "steer_frags"  # type: ignore[index]
    with pytest.raises(OSError, match="its MTU is 9000: lower it to 3506"):
        attach(pair.ours, "native", multi_buffer=False)


def test_queues_that_are_new_run_the_program_once_it_is_installed_anew(
    make_veth: Callable[..., VethPair],
) -> None:
    """Linux 6.18's veth runs none on them; where a later one does, both counts agree from the start."""
    pair = make_veth(queues=4)
    for end, direction in ((pair.peer, "tx"), (pair.ours, "rx")):
        end.run("ethtool", "-L", end.interface, direction, "2")
    with attach(pair.ours, "native") as program:
        for end, direction in ((pair.ours, "rx"), (pair.peer, "tx")):
            end.run("ethtool", "-L", end.interface, direction, "4")
        program.renew()
        assert attached(pair.ours) is not None
        before, seen = received(pair), sum(program.counters().values())
        with pair.peer.entered():
            for _ in range(100):
                with socket.socket() as client, contextlib.suppress(OSError):
                    client.connect((pair.ours.v4, 9))
        after = received(pair)
        assert all(now > then for now, then in zip(after, before, strict=True))
        assert sum(program.counters().values()) - seen == sum(after) - sum(before)


def received(pair: VethPair) -> list[int]:
    """Packets that came by each queue."""
    lines = pair.ours.run("ethtool", "-S", pair.ours.interface).stdout.splitlines()
    return [int(it.split(": ")[1]) for it in lines if re.match(r"\s*rx_queue_\d+_xdp_packets: ", it)]


def test_kill_9_of_the_owner_detaches(veth: VethPair) -> None:
    owner = subprocess.Popen(
        veth.ours.command(sys.executable, "-c", OWNER, veth.ours.interface), stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "attached\n"
        assert attached(veth.ours) is not None
        os.kill(owner.pid, signal.SIGKILL)
    finally:
        owner.kill()
        owner.wait()
    assert attached(veth.ours) is None


def test_wrong_arguments_are_named(veth: VethPair) -> None:
    with pytest.raises(ValueError, match="auto, native or generic, not 'fast'"):
        attach(veth.ours, "fast")
    with veth.ours.entered(), pytest.raises(ValueError, match=r"features are filters, rates.*, not 'walls'"):
        XdpProgram(netdev_features(veth.ours.interface), features=["rates", "walls"])
    with attach(veth.ours) as program:
        with pytest.raises(ValueError, match="a MAC address has 6 octets, not 5"):
            program.set_mac(bytes(5))
        with pytest.raises(ValueError, match="queues 0 to 255"):
            program.register_xsk(256, 0)
        with pytest.raises(ValueError, match=r"10\.0\.0\.300"):
            program.claim("10.0.0.300", 80)


def test_close_twice_and_after(veth: VethPair) -> None:
    program = attach(veth.ours)
    program.close()
    program.close()
    with pytest.raises(OSError, match="cannot claim"):
        program.claim(veth.ours.v4, 80)


def test_no_room_for_one_more_claim_is_said(veth: VethPair) -> None:
    with attach(veth.ours) as program:
        for port in range(1, 4097):
            program.claim("192.0.2.1", port)
        with pytest.raises(OSError, match="cannot claim") as caught:
            program.claim("192.0.2.1", 4097)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.strerror == (
            "cannot claim 192.0.2.1 port 4097: the map `claims` is full: an interface has at most 4096 pairs "
            "of address and port, which is built in; serve fewer addresses or ports on it")
        program.unclaim("192.0.2.1", 1)
        program.claim("192.0.2.1", 4097)


def test_no_room_for_one_more_address_is_said_and_it_is_not_half_claimed(veth: VethPair) -> None:
    own = [f"10.9.{it >> 8}.{it & 255}" for it in range(1024)]
    with attach(veth.ours) as program:
        program.set_local_addresses(own)
        with pytest.raises(OSError, match="cannot add") as caught:
            program.claim("2001:db8::1", 80)
        assert caught.value.strerror == (
            "cannot add 2001:db8::1 to the XDP program: the map `addresses` is full: an interface has at "
            "most 1024 addresses, its own and claimed ones together, which is built in; take some off it, or "
            "claim fewer")
        assert program.map("claims").keys() == []
        with pytest.raises(OSError, match=r"cannot add 192\.0\.2\.1 to the XDP program"):
            program.set_local_addresses([*own, "192.0.2.1"])
        program.set_local_addresses([*own[1:], "192.0.2.1"])        # what goes makes room
        assert len(program.map("addresses").keys()) == 1024


def test_missing_interface_names_those_that_are_there(veth: VethPair) -> None:
    with (
        veth.ours.entered(),
        pytest.raises(OSError, match="interface eth9 does not exist; interfaces here: lo, up0"),
    ):
        netdev_features("eth9")
