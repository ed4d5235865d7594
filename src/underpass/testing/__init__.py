"""Tools to test programs on Underpass, and Underpass itself: a virtual network on a virtual clock, scripted
peers, segments and streams whose every octet is known.
"""

from underpass.testing.checker import Transfer, stream
from underpass.testing.clock import MS, SECOND, US, Clock
from underpass.testing.conditions import GBIT, KBIT, MBIT, Burst, Conditions, GilbertElliott
from underpass.testing.host import Host
from underpass.testing.network import Network
from underpass.testing.topology import Link, Router

__all__ = [
    "GBIT",
    "KBIT",
    "MBIT",
    "MS",
    "SECOND",
    "US",
    "Burst",
    "Clock",
    "Conditions",
    "GilbertElliott",
    "Host",
    "Link",
    "Network",
    "Router",
    "Transfer",
    "stream",
]
