"""Random interleavings of application calls, time and paths, against a model of what each call may answer.

The model of a connection: what each end has sent and read, who has finished, and whether something has
happened after which a reset is right (an abort, or a close that leaves octets unread: RFC 2525 2.17).
"""

import socket

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule
from tests.sim.effort import effort
from tests.sim.test_invariants import conditions

from underpass.stack.stack import ACCEPTED, CLOSED
from underpass.testing import MS, SECOND, Conditions, Network, stream

PORT = 80
GOOD = Conditions(delay_ns=5 * MS)
# What a bad path may last: less than it takes anyone, orphans included, to give up.
BAD_NS = 15 * SECOND
LONG_NS = 400 * SECOND
MOST_OCTETS = 1 << 19
FAST = (socket.IPPROTO_TCP, 30, 1)      # TCP_FASTOPEN_CONNECT
OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0),
    (socket.IPPROTO_TCP, socket.TCP_CONGESTION, "newreno"),
    (socket.IPPROTO_TCP, socket.TCP_CONGESTION, "cubic"),
    (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 200),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 8192),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, 5000),
]


class End:
    """One end of a connection, as the model has it."""

    def __init__(self, number):
        self.octets = stream(number, MOST_OCTETS)
        self.conn = None
        self.sent = 0
        self.read = 0
        self.at_end = False
        self.shut = False
        self.gone = False               # closed or aborted by its application
        self.other = None
        self.pair = None

    @property
    def finished(self):
        """Whether it sends no more."""
        return self.shut or self.gone


class Pair:
    """Both ends; `may_reset` once that would be right. `fast`: the client asked for Fast Open."""

    def __init__(self, number, fast):
        self.client, self.server = End(2 * number), End(2 * number + 1)
        self.client.other, self.server.other = self.server, self.client
        self.client.pair = self.server.pair = self
        self.may_reset = False
        self.fast = fast


class Calls(RuleBasedStateMachine):
    """Two hosts, some connections, and everything that their applications may do."""

    ends = Bundle("ends")

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.network = Network(seed, check=True)
        self.client, self.server = self.network.host(), self.network.host()
        self.link = self.network.link(self.client, self.server, **vars(GOOD))
        self.pairs = []
        self.by_client = {}
        self.bad_ns = 0
        self.listener = self.server.stack.listen(("0.0.0.0", PORT))
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 3)
        self.client.application = self.client_event
        self.server.application = self.server_event

    # ---- what the stacks say

    def client_event(self, conn, ready):
        self.event(self.by_client[conn.local].client, conn, ready)

    def server_event(self, conn, ready):
        end = self.by_client[conn.remote].server
        if ready & ACCEPTED and end.conn is not None:
            assert end.pair.fast        # RFC 7413 2.1: its SYN came again when it was gone
            conn.abort()
            return
        if ready & ACCEPTED:
            end.conn = conn
        elif end.conn is not conn:
            return
        self.event(end, conn, ready)

    def event(self, end, conn, ready):
        assert end.conn is conn
        if ready & CLOSED and not end.pair.may_reset:
            assert end.finished and end.other.finished

    # ---- what the applications do

    @rule(target=ends, fast=st.booleans())
    def connect(self, fast):
        pair = Pair(len(self.pairs), fast)
        self.pairs.append(pair)
        options = [FAST] if fast else []
        pair.client.conn = self.client.stack.connect((self.server.station.v4, PORT), options=options)
        self.by_client[pair.client.conn.local] = pair
        return pair.client

    @rule(target=ends, end=ends)
    def other_end(self, end):
        return end.other

    @rule(end=ends, octets=st.one_of(st.integers(1, 2000), st.integers(1, 100_000)))
    def send(self, end, octets):
        if end.conn is None or end.gone:
            return
        offered = end.octets[end.sent : end.sent + octets]
        try:
            taken = end.conn.send(offered)
        except BlockingIOError:
            assert not end.shut
            return
        except BrokenPipeError:
            assert end.shut or end.pair.may_reset
            return
        except (ConnectionError, TimeoutError):
            assert end.pair.may_reset
            return
        assert not end.shut and taken <= len(offered)
        end.sent += taken
        end.pair.may_reset |= end.other.gone

    @rule(end=ends, octets=st.one_of(st.integers(1, 2000), st.just(1 << 20)))
    def receive(self, end, octets):
        if end.conn is None or end.gone:
            return
        try:
            got = end.conn.recv(octets)
        except BlockingIOError:
            return
        except (ConnectionError, TimeoutError):
            assert end.pair.may_reset
            return
        assert got == end.other.octets[end.read : end.read + len(got)]
        end.read += len(got)
        assert end.read <= end.other.sent
        if not got:
            assert end.read == end.other.sent and (end.other.finished or end.pair.may_reset)
            end.at_end = True

    @rule(end=ends)
    def shutdown(self, end):
        if end.conn is None or end.gone:
            return
        try:
            end.conn.shutdown()
        except OSError:
            return                      # not yet, or no longer, connected
        end.shut = True

    @rule(most=st.sampled_from([0, 1, 3]))
    def serve_early(self, most):
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, most)

    @rule(end=ends)
    def close(self, end):
        if end.conn is None or end.gone:
            return
        # RFC 9293 3.10.4: in SYN-SENT it is an end without a word, whatever went with the SYN.
        end.pair.may_reset |= end.conn.state == "SYN-SENT"
        end.pair.may_reset |= not end.at_end and (end.other.sent > end.read or not end.other.finished)
        end.conn.close()
        end.gone = True

    @rule(end=ends)
    def abort(self, end):
        if end.conn is None or end.gone:
            return
        end.pair.may_reset = True
        end.conn.abort()
        end.gone = True

    @rule(end=ends, option=st.sampled_from(OPTIONS))
    def set_option(self, end, option):
        if end.conn is not None and not end.gone and end.conn.state != "CLOSED":
            end.conn.setsockopt(*option)

    # ---- what happens meanwhile

    @rule(ns=st.sampled_from([0, MS, 30 * MS, 300 * MS, 3 * SECOND]))
    def time_passes(self, ns):
        self.bad_ns += ns
        if self.bad_ns > BAD_NS:
            self.heal()
        self.network.run(for_ns=ns)

    @rule(there=conditions, back=conditions)
    def path_changes(self, there, back):
        if self.bad_ns <= BAD_NS:
            self.link.forth.set_conditions(there)
            self.link.back.set_conditions(back)

    @rule()
    def long_time_passes(self):
        """On a good path; then whatever was sent has come, or fills the window."""
        self.heal()
        self.network.run(for_ns=LONG_NS)
        self.bad_ns = 0
        for pair in self.pairs:
            for end in (pair.client, pair.server):
                if end.conn is None or end.gone or pair.may_reset:
                    continue
                waiting = end.conn.info()["unread_bytes"] if end.conn.state != "CLOSED" else None
                if waiting is not None and end.other.sent > end.read:
                    assert waiting > 0, "nothing came, and nothing was wrong"

    def heal(self):
        """No harm from now on."""
        self.link.forth.set_conditions(GOOD)
        self.link.back.set_conditions(GOOD)

    def teardown(self):
        """Everything can be closed, and then nothing is left."""
        if not hasattr(self, "network"):
            return
        with self.network:
            self.heal()
            for pair in self.pairs:
                for end in (pair.client, pair.server):
                    if end.conn is not None and not end.gone:
                        self.close(end)
            self.listener.close()
            self.server.application = lambda conn, ready: conn.close()
            self.network.run(for_ns=2 * 3600 * SECOND)
            for host in (self.client, self.server):
                assert host.is_idle(), (host.stack.connections(), host.link.frames.free)
            assert self.network.next_deadline() is None
            self.network.check_conduct()


TestCalls = Calls.TestCase
TestCalls.settings = settings(effort, stateful_step_count=40)
