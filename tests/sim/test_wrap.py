"""Sequence numbers that wrap at 2^32 in the middle of a transfer (RFC 9293 3.4), under any harm.

Initial numbers follow a clock of 4 us (3.4.1), so a connection that waits for the right moment begins as near
to the wrap as one likes; on the virtual network the hours until then take no time.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sim.effort import effort
from tests.sim.test_invariants import PORT, Reluctant, Scene, conditions

from underpass.testing import MS, SECOND, Conditions, Network, stream
from underpass.testing.capture import read_capture
from underpass.testing.packets import Flags, TcpSegment

TICK_NS = 4000
ALL_NUMBERS = 2**32
DELAY_NS = 5 * MS
GOOD = Conditions(delay_ns=DELAY_NS)
OUT, BACK = 120_000, 90_000


class WrapScene(Scene):
    """One connection from the same port each time."""

    def __init__(self, network):
        super().__init__(network, 1500, GOOD, GOOD)
        self.serve = self.client.application, self.server.application

    def segments(self, whose):
        """What that host has sent, as the client's interface saw it: times and segments."""
        link, path = self.network._captures[0]
        link.flush()
        for packet in read_capture(path):
            if packet.is_sent == (whose == "client"):
                yield packet.at_ns, TcpSegment.parse(packet.frame, verify=False)

    def connect(self):
        station = self.server.station
        self.client.stack.step(self.network.clock.now_ns)       # so that it knows what time it is
        return self.client.stack.connect((station.v4, PORT), (self.client.station.v4, 50000))

    def wait_for(self, whose, octets):
        """The moment at which the number that this side chooses is so far below the wrap."""
        self.client.application = self.server.application = None
        probe = self.connect()
        assert self.network.run(until=lambda: probe.state == "ESTABLISHED", for_ns=SECOND)
        at_ns, first = next(self.segments(whose))
        probe.abort()
        self.network.run(for_ns=SECOND)
        self.client.application, self.server.application = self.serve
        # The server's came a delay after it was chosen, and will be chosen a delay after the SYN has left.
        at_ns -= 2 * DELAY_NS if whose == "server" else 0
        at_ns += (ALL_NUMBERS - octets - first.seq) % ALL_NUMBERS * TICK_NS
        if at_ns < self.network.clock.now_ns:
            at_ns += ALL_NUMBERS * TICK_NS
        self.network.run(for_ns=at_ns - self.network.clock.now_ns)

    def begin(self):
        """A transfer both ways."""
        octets = stream(1, OUT), stream(2, BACK)
        conn = self.connect()
        ends = Reluctant(*octets, 1), Reluctant(*octets[::-1], 2)
        ends[0].conn = conn
        self.by_client[conn.local] = ends
        self.network.nodes += ends

    def wrapped(self, whose):
        """Whether what that host has sent since the last SYN lies on both sides of the wrap."""
        numbers = []
        for _, seg in self.segments(whose):
            numbers = [seg.seq] if seg.flags & Flags.SYN else [*numbers, seg.seq]
        return min(numbers) < ALL_NUMBERS // 4 and max(numbers) > ALL_NUMBERS // 4 * 3


@pytest.mark.parametrize("whose", ["client", "server"])
@pytest.mark.parametrize("octets", [0, 1, 2, 1448, 1449, 50_000])
def test_the_numbers_do_wrap(whose, octets):
    with Network(octets, check=True) as network:
        scene = WrapScene(network)
        scene.wait_for(whose, octets)
        scene.begin()
        scene.finish()
        assert scene.wrapped(whose) or octets == 0
        scene.settle()


@effort
@given(
    seed=st.integers(0, 2**32),
    there=conditions,
    back=conditions,
    whose=st.sampled_from(["client", "server"]),
    octets=st.one_of(st.integers(0, 3000), st.integers(0, 80_000)),
)
def test_everything_arrives_across_the_wrap(seed, there, back, whose, octets):
    with Network(seed, check=True) as network:
        scene = WrapScene(network)
        scene.wait_for(whose, octets)
        scene.link.forth.set_conditions(there)
        scene.link.back.set_conditions(back)
        scene.begin()
        scene.finish()
        scene.settle()
