"""What holds of TCP under any legal adversary: bytes arrive once, in order, unchanged; what is sent keeps to
the rules; queues, sums and timers are right after every turn; nothing is left behind.

A run of the suite looks for seconds; with `EXAMPLES=5000` in the environment for hours.
"""

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.sim.effort import effort

from underpass.testing import (
    MBIT,
    MS,
    SECOND,
    US,
    Burst,
    Conditions,
    GilbertElliott,
    Network,
    Transfer,
    stream,
)

HOUR = 3600 * SECOND
# In which no connection gives up, orphans included.
PATIENCE = 20 * SECOND
PORT = 80

rates = st.floats(0, 0.15)
losses = st.one_of(
    rates,
    st.builds(GilbertElliott, st.floats(0, 0.05), st.floats(0.2, 1), st.floats(0.3, 1), st.floats(0, 0.02)),
    st.builds(Burst, st.floats(0, 0.02), st.integers(1, 12)),
)
conditions = st.builds(
    Conditions,
    rate_bps=st.sampled_from([0, MBIT, 10 * MBIT, 1000 * MBIT]),
    delay_ns=st.integers(10 * US, 50 * MS),
    jitter_ns=st.integers(0, 20 * MS),
    queue_packets=st.sampled_from([0, 3, 20]),
    mark_packets=st.sampled_from([0, 2]),
    loss=losses,
    reorder=rates,
    reorder_ns=st.integers(1, 50 * MS),
    duplicate=rates,
    corrupt=rates,
)
# What a segment may hold; the smallest that IPv6 allows, and more than two frames.
mtus = st.sampled_from([1280, 1500, 9000])
sizes = st.one_of(st.integers(0, 200), st.integers(0, 60_000))


class Reluctant(Transfer):
    """An application that now and then reads nothing for a while, so that its window closes."""

    def __init__(self, outgoing, incoming, seed):
        self.random = random.Random(seed)
        pace = self.random.choice([1, 100, 5000, 65536])
        super().__init__(outgoing, incoming, read=65536, write=pace)
        self.pauses = self.random.randrange(4)
        self.nap_ns = None
        self.wake_ns = None

    def on_ready(self, conn, ready):
        self.conn = conn
        if self.wake_ns is not None or self.nap_ns is not None:
            return
        if self.pauses and self.random.random() < 0.3:
            self.pauses -= 1
            self.nap_ns = self.random.randrange(20 * SECOND)
            return
        super().on_ready(conn, ready)

    # A node of the network: it has its own idea of when to go on.

    def step(self, now_ns):
        """Fall asleep, or wake up."""
        if self.nap_ns is not None:
            self.wake_ns, self.nap_ns = now_ns + self.nap_ns, None
        if self.wake_ns is None or self.wake_ns > now_ns:
            return 0
        self.wake_ns = None
        if self.conn.state != "CLOSED":
            self.on_ready(self.conn, 0)
        return 1

    def deadline(self):
        """When it wakes up."""
        return self.wake_ns

    def close(self):
        """It has nothing."""


class Scene:
    """Two hosts and the transfers between them; the wire is watched, the stacks are looked at."""

    def __init__(self, network, mtu, there, back, **limits):
        self.network = network
        self.client, self.server = (network.host(mtu=mtu, **limits) for _ in range(2))
        self.link = network.link(self.client, self.server, back=back, **vars(there))
        self.by_client = {}
        self.server.stack.listen(("0.0.0.0", PORT))
        self.server.stack.listen(("::", PORT))
        self.client.application = lambda conn, ready: self.by_client[conn.local][0].on_ready(conn, ready)
        self.server.application = lambda conn, ready: self.by_client[conn.remote][1].on_ready(conn, ready)

    def start(self, number, out, back):
        """A connection that carries a stream each way."""
        octets = stream(number, out), stream(~number, back)
        station = self.server.station
        conn = self.client.stack.connect((station.v6 if number % 2 else station.v4, PORT))
        ends = Reluctant(*octets, number), Reluctant(*octets[::-1], ~number)
        ends[0].conn = conn
        self.by_client[conn.local] = ends
        self.network.nodes += ends

    @property
    def ends(self):
        return [end for pair in self.by_client.values() for end in pair]

    def finish(self):
        """Until every transfer is done. The path heals before anyone has reason to give up."""

        def done():
            return all(end.done for end in self.ends)

        if not self.network.run(until=done, for_ns=PATIENCE):
            self.link.change(loss=0.0, corrupt=0.0, queue_packets=0)
        ended = self.network.run(until=done, for_ns=HOUR)
        assert ended, [(end.sent, end.received, end.at_end) for end in self.ends]
        assert [end.errors for end in self.ends if end.errors] == []

    def settle(self):
        """Nothing is open, no frame is held, no timer is left, and all that was sent was right."""
        self.network.run(for_ns=HOUR)
        for host in (self.client, self.server):
            assert host.is_idle(), (host.name, host.stack.connections(), host.link.frames.free)
        assert self.network.next_deadline() is None
        assert self.network.check_conduct() > 0


@effort
@given(
    seed=st.integers(0, 2**32),
    there=conditions,
    back=conditions,
    mtu=mtus,
    transfers=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=3),
)
def test_everything_arrives_and_nothing_is_left(seed, there, back, mtu, transfers):
    with Network(seed, check=True) as network:
        scene = Scene(network, mtu, there, back)
        for number, (out, back_octets) in enumerate(transfers):
            scene.start(number, out, back_octets)
        scene.finish()
        scene.settle()


@effort
@given(
    seed=st.integers(0, 2**32),
    there=conditions,
    back=conditions,
    abort_after_ns=st.lists(st.integers(0, 2 * SECOND), min_size=1, max_size=6),
)
def test_aborts_leave_nothing_either(seed, there, back, abort_after_ns):
    """Each connection is reset by one end at some moment, in whatever state that finds it."""
    rng = random.Random(seed)
    with Network(seed, check=True) as network:
        scene = Scene(network, 1500, there, back)
        for number, after_ns in enumerate(abort_after_ns):
            scene.start(number, rng.randrange(200_000), rng.randrange(200_000))
            network.run(for_ns=after_ns)
            end = rng.choice([end for end in scene.ends if end.conn is not None])
            end.conn.abort()
        for end in scene.ends:
            if end.conn is not None:
                end.conn.abort()
        scene.client.application = scene.server.application = lambda conn, ready: conn.abort()
        scene.settle()


@effort
@given(
    seed=st.integers(0, 2**32),
    changes=st.lists(st.tuples(st.integers(0, 3 * SECOND), conditions), min_size=1, max_size=5),
)
def test_the_path_may_change_at_any_time(seed, changes):
    with Network(seed, check=True) as network:
        start = Conditions(delay_ns=5 * MS, rate_bps=10 * MBIT)
        scene = Scene(network, 1500, start, start)
        scene.start(0, 150_000, 150_000)
        for after_ns, new in changes:
            network.run(for_ns=after_ns)
            scene.link.forth.set_conditions(new)
            scene.link.back.set_conditions(new)
        scene.finish()
        scene.settle()


@effort
@given(seed=st.integers(0, 2**32), frames=st.sampled_from([64, 100, 300]), there=conditions)
def test_memory_stays_within_its_budget(seed, frames, there):
    """More connections than the pool has frames for: they wait for each other, and all get through."""
    with Network(seed, check=True) as network:
        scene = Scene(network, 1500, there, there, frames=frames, rcv_bytes=16384, snd_frames=16)
        for number in range(12):
            scene.start(number, 20_000, 5_000)
        scene.finish()
        scene.settle()
