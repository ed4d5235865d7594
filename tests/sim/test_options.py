"""Socket options may change at any time: every octet arrives all the same, and nothing is left behind."""

import random
import socket

from hypothesis import given
from hypothesis import strategies as st
from tests.sim.effort import effort
from tests.sim.test_invariants import PORT, Reluctant, Scene, conditions, sizes

from underpass.testing import Network, stream

SOCKET, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
# What an application may do to itself without ending its connection.
CHOICES = {
    (TCP, socket.TCP_NODELAY): [0, 1],
    (TCP, socket.TCP_CORK): [0, 1],
    (TCP, socket.TCP_QUICKACK): [0, 1],
    (TCP, socket.TCP_NOTSENT_LOWAT): [0, 1, 3000, 100_000],
    (TCP, socket.TCP_WINDOW_CLAMP): [1, 5000, 1 << 20],
    (TCP, socket.TCP_CONGESTION): ["reno", "cubic", "bbr", "dctcp"],
    (TCP, socket.TCP_KEEPIDLE): [5, 7200],
    (TCP, socket.TCP_MAXSEG): [88, 1000],
    (TCP, socket.TCP_DEFER_ACCEPT): [0, 1, 5],
    (SOCKET, socket.SO_KEEPALIVE): [0, 1],
    (SOCKET, socket.SO_SNDBUF): [1, 20_000, 1 << 20],
    (SOCKET, socket.SO_RCVBUF): [1, 20_000, 1 << 20],
    (SOCKET, 47): [500_000, 2**64 - 1],         # SO_MAX_PACING_RATE
}


def choose(rng):
    """An option and one of its values."""
    option = rng.choice(list(CHOICES))
    return *option, rng.choice(CHOICES[option])


class Fickle(Reluctant):
    """An application that changes its mind about its options as it goes."""

    def on_ready(self, conn, ready):
        if self.random.random() < 0.5 and conn.state != "CLOSED":
            conn.setsockopt(*choose(self.random))
        super().on_ready(conn, ready)


def start(scene, number, out, back, rng):
    """A connection between two of them, with options of its own from the start."""
    octets = stream(number, out), stream(~number, back)
    options = [choose(rng) for _ in range(rng.randrange(4))]
    conn = scene.client.stack.connect((scene.server.station.v4, PORT), options=options)
    ends = Fickle(*octets, number), Fickle(*octets[::-1], ~number)
    ends[0].conn = conn
    scene.by_client[conn.local] = ends
    scene.network.nodes += ends


@effort
@given(
    seed=st.integers(0, 2**32),
    there=conditions,
    back=conditions,
    transfers=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=3),
)
def test_everything_arrives_whatever_the_options(seed, there, back, transfers):
    rng = random.Random(seed)
    with Network(seed, check=True) as network:
        scene = Scene(network, 1500, there, back)
        listener = scene.server.stack.listen((scene.server.station.v4, PORT))
        for _ in range(rng.randrange(4)):
            listener.setsockopt(*choose(rng))
        for number, (out, back_octets) in enumerate(transfers):
            start(scene, number, out, back_octets, rng)
        scene.finish()
        scene.settle()
