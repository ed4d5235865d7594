"""Busy polling needs settings of the interface, which /sys has only where it shows the namespace."""

import subprocess
import sys

from underpass.testing.namespaces import VethPair

SETTINGS = "/sys/class/net/up0/napi_defer_hard_irqs", "/sys/class/net/up0/gro_flush_timeout"
OWNER = """
import sys
from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.linux.netdev_features import netdev_features
link = AfXdpLink(Frames(256), netdev_features("up0"), busy_poll=True)
assert link.busy_poll and "busy_poll" not in link.why, link.why
print(*(open(path).read().strip() for path in sys.argv[1:]))
link.close()
print(*(open(path).read().strip() for path in sys.argv[1:]))
"""


def test_settings_hold_while_the_link_does(veth: VethPair) -> None:
    ran = subprocess.run(
        veth.ours.command(sys.executable, "-c", OWNER, *SETTINGS), capture_output=True, text=True, check=False
    )
    assert ran.stdout.splitlines() == ["2 200000", "0 0"], ran.stderr
