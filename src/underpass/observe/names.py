"""The name of every counter by layer, in the order in which they are shown."""

from underpass.link.link import LINK_COUNTERS
from underpass.observe.reader import XDP_NAMES
from underpass.stack.arena import SOCKET_NAMES
from underpass.tcp.counters import TCP_COUNTERS
from underpass.wire.reason import reason_names

COUNTERS: dict[str, tuple[str, ...]] = {
    "xdp": XDP_NAMES,
    "socket": SOCKET_NAMES,
    "link": LINK_COUNTERS,
    "refused": reason_names()[1:],
    "tcp": (*TCP_COUNTERS, "connections", "half_open", "time_waits"),
    "pool": ("frames", "free", "reserve", "refused"),
    "loop": ("turns", "sleeps", "naps"),
}
