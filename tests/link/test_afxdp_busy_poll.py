"""Busy polling puts off the interrupts of an interface that has some, by settings in /sys."""

import subprocess
import sys

import pytest

from underpass.testing.namespaces import VethPair

SETTINGS = "/sys/class/net/up0/napi_defer_hard_irqs", "/sys/class/net/up0/gro_flush_timeout"
OWNER = """
import dataclasses, sys
from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.linux.netdev_features import netdev_features
driver, *settings = sys.argv[1:]
link = AfXdpLink(Frames(256), dataclasses.replace(netdev_features("up0"), driver=driver), busy_poll=True)
assert link.busy_poll and "busy_poll" not in link.why, link.why
print(*(open(path).read().strip() for path in settings))
link.close()
print(*(open(path).read().strip() for path in settings))
"""


@pytest.mark.parametrize(("driver", "meanwhile"), [("e1000e", "2 200000"), ("veth", "0 0")])
def test_settings_hold_while_the_link_does(veth: VethPair, driver: str, meanwhile: str) -> None:
    """Interrupts are put off where there are any; what a veth brings lies in the ring without one."""
    command = veth.ours.command(sys.executable, "-c", OWNER, driver, *SETTINGS)
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == [meanwhile, "0 0"], ran.stderr
