from underpass.link.frames import Frames
from underpass.link.link import LinkBase
from underpass.stack.stack import Stack
from underpass.testing.pipe import Pipe

NO_PIPE: int

class Port(LinkBase):
    """A host's interface on a fabric: what it transmits goes on its way, what has arrived it receives."""

class Fabric:
    """Nodes numbered 1 to 255, joined by pipes, from a time on. `underpass.testing.network` makes and fills
    it.
    """

    def __init__(self, now_ns: int, check: bool = False) -> None: ...
    @property
    def now_ns(self) -> int: ...
    @property
    def events(self) -> int:
        """Turns of stacks and arrivals that there were."""
    @property
    def unroutable(self) -> int:
        """Frames that were for nobody: their address was damaged, or no link leads there."""
    def port(self, number: int, frames: Frames, mtu: int) -> Port: ...
    def attach(self, number: int, stack: Stack) -> None: ...
    def detach(self, number: int) -> None:
        """A host whose process stands still, or died: what comes waits until one is attached again."""
    def drop(self, number: int) -> None:
        """What waits for a host is lost."""
    def join(self, pipe: Pipe, to: int) -> int:
        """Lead a pipe to a node; returns the pipe's number."""
    def set_route(self, at: int, to: int, pipe: int) -> None: ...
    def step(self, now_ns: int) -> int: ...
    def run(self, end_ns: int) -> int:
        """On through time to `end_ns`, or to the first instant at which Python has something to see."""
    def next_deadline(self) -> int | None: ...
    def close(self) -> None: ...
