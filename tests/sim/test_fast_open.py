"""Fast Open between two of our stacks, under any harm (RFC 7413): clients that ask for cookies, show good
ones and old ones, whose SYN with data is lost, doubled or late, that find no room; servers that have given it
up. The stream is whole all the same.

What may happen besides is that a SYN is delivered again when its connection is gone: then a second connection
has what the first had with its SYN, and nothing else (2.1).
"""

import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sim.effort import effort
from tests.sim.test_invariants import PORT, Reluctant, Scene, conditions, sizes

from underpass.stack.stack import ACCEPTED
from underpass.testing import MS, SECOND, Conditions, Network, stream

TCP, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 30
HOUR = 3600 * SECOND
GOOD = Conditions(delay_ns=5 * MS)
MOST_WITH_SYN = 1460
# Between one connection and the next: at once, while paths that swallow such SYNs are left alone, when the
# cookie is of yesterday, and when it is too old.
pauses = st.sampled_from([0, MS, 100 * MS, 5 * SECOND, 70 * SECOND, 20 * HOUR, 60 * HOUR])
transfers = st.lists(st.tuples(sizes, sizes), min_size=1, max_size=4)


class Early(Reluctant):
    """A client that writes before it is connected, and ends its stream once it is."""

    def _send(self, conn):
        if conn.state == "SYN-SENT":
            while self.sent < len(self.outgoing):
                self.sent += conn.send(self.outgoing[self.sent : self.sent + self.write])
            raise BlockingIOError
        super()._send(conn)


class FastScene(Scene):
    """Two hosts; the server serves `most` connections at a time before their handshakes end."""

    def __init__(self, network, there, back, most, **limits):
        super().__init__(network, 1500, there, back, **limits)
        station = self.server.station
        self.listeners = [self.server.stack.listen((address, PORT)) for address in (station.v4, station.v6)]
        self.serve_early(most)
        self.server.application = self.serve
        self.ghosts = 0

    def serve_early(self, most):
        """How many from now on; 0: the server has given up Fast Open."""
        for listener in self.listeners:
            listener.setsockopt(TCP, TCP_FASTOPEN, most)

    def serve(self, conn, ready):
        """An event of the server."""
        client, server = self.by_client[conn.remote]
        if server.conn in (None, conn):
            server.on_ready(conn, ready)
        elif ready & ACCEPTED:
            self.meet_ghost(client, conn)

    def meet_ghost(self, client, conn):
        """A SYN that came when its connection was gone: RFC 7413 2.1."""
        self.ghosts += 1
        try:
            octets = conn.recv(1 << 16)
        except BlockingIOError:
            octets = b""
        assert len(octets) <= MOST_WITH_SYN
        assert client.outgoing.startswith(octets)
        conn.abort() if self.ghosts % 2 else conn.close()

    def start(self, number, out, back):
        octets = stream(number, out), stream(~number, back)
        station = self.server.station
        conn = self.client.stack.connect(
            (station.v6 if number % 2 else station.v4, PORT), options=[(TCP, TCP_FASTOPEN_CONNECT, 1)]
        )
        ends = Early(*octets, number), Reluctant(*octets[::-1], ~number)
        ends[0].conn = conn
        self.by_client[conn.local] = ends
        self.network.nodes += ends

    def learn(self):
        """Cookies for both families, on whatever path there is."""
        for number in (1000, 1001):
            self.start(number, 1, 1)
        self.finish()

    def count(self, name):
        """A counter of both stacks together."""
        return sum(host.stack.stats()["tcp"][name] for host in (self.client, self.server))


@effort
@given(
    seed=st.integers(0, 2**32),
    paths=st.tuples(conditions, conditions),
    most=st.sampled_from([1, 2, 16]),
    rounds=st.lists(st.tuples(pauses, transfers), min_size=1, max_size=4),
)
def test_everything_arrives_and_nothing_is_left(seed, paths, most, rounds):
    rng = random.Random(seed)
    with Network(seed, check=True) as network:
        scene = FastScene(network, *paths, most)
        number = 0
        for pause_ns, together in rounds:
            network.run(for_ns=pause_ns)
            if rng.random() < 0.2:
                scene.serve_early(rng.choice([0, 1, 16]))
            for out, back_octets in together:
                scene.start(number, 1 + out, back_octets)
                number += 1
        scene.finish()
        scene.settle()


@effort
@given(
    seed=st.integers(0, 2**32),
    there=conditions,
    back=conditions,
    abort_after_ns=st.lists(st.integers(0, 300 * MS), min_size=1, max_size=6),
)
def test_aborts_in_the_middle_leave_nothing(seed, there, back, abort_after_ns):
    """Before the SYN has left, before it is answered, before the handshake has ended at the other side."""
    rng = random.Random(seed)
    with Network(seed, check=True) as network:
        scene = FastScene(network, GOOD, GOOD, 16)
        scene.learn()
        scene.link.forth.set_conditions(there)
        scene.link.back.set_conditions(back)
        for number, after_ns in enumerate(abort_after_ns):
            scene.start(number, 1 + rng.randrange(20_000), rng.randrange(20_000))
            network.run(for_ns=after_ns)
            end = rng.choice([end for end in scene.ends if end.conn is not None])
            end.conn.close() if rng.random() < 0.5 else end.conn.abort()
        for end in scene.ends:
            if end.conn is not None:
                end.conn.abort()
        scene.client.application = scene.server.application = lambda conn, ready: conn.abort()
        scene.settle()


# ---- each of these things does happen there

def scene_of(network, there=GOOD, most=16, **limits):
    """One in which the client has its cookies, on a path that was good until then."""
    scene = FastScene(network, GOOD, GOOD, most, **limits)
    scene.learn()
    assert scene.count("fast_open_requests") == 2
    scene.link.forth.set_conditions(there)
    return scene


def carry(scene, connections=10):
    """So many at once, each with something to send with its SYN."""
    for number in range(connections):
        scene.start(number, 500, 500)
    scene.finish()
    scene.settle()


def test_data_go_with_the_syn_and_are_served_at_once():
    """RFC 7413 4.2"""
    with Network(1, check=True) as network:
        scene = scene_of(network)
        carry(scene)
        for name in ("fast_open_sent", "fast_open_accepted", "fast_open_acked"):
            assert scene.count(name) == 10


def test_a_syn_with_data_that_is_lost_is_followed_by_an_ordinary_one():
    """RFC 7413 4.1.3.1"""
    with Network(2, check=True) as network:
        scene = scene_of(network, Conditions(delay_ns=5 * MS, loss=0.4))
        carry(scene, 20)
        assert scene.count("fast_open_fallbacks") > 0


def test_a_cookie_of_long_ago_is_refused_and_replaced():
    """RFC 7413 4.1.2, 4.2.2"""
    with Network(3, check=True) as network:
        scene = scene_of(network)
        network.run(for_ns=60 * HOUR)
        carry(scene, 2)
        assert (scene.count("fast_open_refused"), scene.count("fast_open_acked")) == (2, 0)
        carry(scene, 2)
        assert scene.count("fast_open_acked") == 2


@pytest.mark.parametrize(
    ("most", "half_open", "counter"), [(1, 64, "fast_open_limit"), (16, 2, "cookies_sent")]
)
def test_who_finds_no_room_is_served_after_the_handshake(most, half_open, counter):
    """RFC 7413 5.1; RFC 4987 3.6: beyond the listener's limit, and where nothing is kept at all"""
    with Network(5, check=True) as network:
        scene = scene_of(network, most=most, half_open=half_open)
        carry(scene, 20)
        assert scene.count(counter) > 0


def test_a_server_may_give_it_up():
    """RFC 7413 4.1.3.1: data are sent after the handshake; the next SYN asks again"""
    with Network(6, check=True) as network:
        scene = scene_of(network)
        scene.serve_early(0)
        carry(scene)
        assert (scene.count("fast_open_sent"), scene.count("fast_open_acked")) == (10, 0)


def test_a_syn_that_comes_again_when_all_is_over_is_a_second_connection():
    """RFC 7413 2.1: for requests that may be repeated only"""
    with Network(7, check=True) as network:
        late = Conditions(delay_ns=5 * MS, reorder=0.3, reorder_ns=3 * SECOND, duplicate=0.5)
        scene = scene_of(network, late)
        carry(scene, 40)
        assert scene.ghosts > 0
