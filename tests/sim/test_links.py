"""The virtual network's links: rate, delay and queue to the nanosecond; harm at its rate and by seed."""

import itertools

import pytest

from underpass.testing import (
    GBIT,
    MBIT,
    MS,
    SECOND,
    Burst,
    Conditions,
    GilbertElliott,
    Network,
    Transfer,
    stream,
)
from underpass.testing.packets import TcpSegment
from underpass.testing.pipe import Pipe
from underpass.testing.probe_pipe import carry, lost_by, too_big

# Of a full segment with timestamps on an MTU of 1500, as a frame.
FRAME = 1514


def pair(network, **conditions):
    one, other = network.host(), network.host()
    return one, other, network.link(one, other, **conditions)


def send(network, client, server, octets, *, port=80, seed=1):
    """Have the client send so many octets to the server; returns both ends."""
    data = stream(seed, octets)
    sender, receiver = Transfer(data, b""), Transfer(b"", data)
    server.stack.listen((server.station.v4, port))
    server.application = receiver.on_ready
    client.application = sender.on_ready
    sender.conn = client.stack.connect((server.station.v4, port))
    return sender, receiver


def finish(network, *ends, seconds=600):
    assert network.run(until=lambda: all(end.done for end in ends), for_ns=seconds * SECOND)
    assert [end.errors for end in ends if end.errors] == []


def test_a_handshake_takes_the_delay_there_and_back():
    with Network() as network:
        one, other, _ = pair(network, delay_ns=20 * MS)
        other.stack.listen(("0.0.0.0", 80))
        conn = one.stack.connect((other.station.v4, 80))
        assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
        assert network.clock.elapsed_ms == 40


def test_a_transfer_takes_what_the_rate_allows():
    """A queue that never overflows: the bottleneck is busy all the time after the first round trips."""
    with Network() as network:
        one, other, link = pair(network, rate_bps=10 * MBIT, delay_ns=5 * MS)
        finish(network, *send(network, one, other, 2_000_000))
        sent = link.forth.stats()["octets"]
        assert sent * 8 / 10 * 1000 <= network.clock.elapsed_ms * MS <= sent * 8 / 10 * 1000 + 100 * MS


def test_both_directions_may_differ():
    with Network() as network:
        one, other = network.host(), network.host()
        network.link(one, other, delay_ns=10 * MS, back=Conditions(delay_ns=MS))
        other.stack.listen(("0.0.0.0", 80))
        conn = one.stack.connect((other.station.v4, 80))
        assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
        assert network.clock.elapsed_ms == 11


@pytest.mark.parametrize("limit", [{"queue_packets": 20}, {"queue_bytes": 20 * FRAME}])
def test_a_full_queue_drops_what_comes(limit):
    with Network() as network:
        one, other, link = pair(network, rate_bps=10 * MBIT, delay_ns=20 * MS, **limit)
        finish(network, *send(network, one, other, 1_000_000))
        counters = link.forth.stats()
        assert counters["dropped"] > 0 and counters["lost"] == 0
        assert counters["queue_packets_peak"] == 20 and counters["queue_octets_peak"] <= 20 * FRAME


def test_the_queue_is_integrated_over_time():
    """One frame of 1000 octets at 8 Mbit/s stands in the queue for a millisecond."""
    with Network() as network:
        one, other, link = pair(network, rate_bps=8 * MBIT)
        finish(network, *send(network, one, other, 1))
        network.run(for_ns=SECOND)
        counters = link.forth.stats()
        # Nothing ever waits for anything else here: each octet is there as long as its frame takes.
        assert link.forth.queue_byte_ns >= counters["octets"] * 1000
        assert (link.forth.queued_packets, link.forth.queued_bytes) == (0, 0)


def test_time_passes_far_faster_where_nothing_happens():
    """A day of keepalives is some thousand events, whatever the clock on the wall says."""
    with Network() as network:
        pair(network, delay_ns=MS)
        network.run(for_ns=24 * 3600 * SECOND)
        assert network.clock.elapsed_ms == 24 * 3600 * 1000
        assert network.topology.fabric.events < 10


def test_hosts_share_a_bottleneck():
    with Network(capture=False) as network:
        left, right = network.router(), network.router()
        bottleneck = network.link(left, right, rate_bps=10 * MBIT, delay_ns=10 * MS, queue_packets=50)
        ends = []
        for number in range(4):
            client, server = network.host(), network.host()
            network.link(client, left, rate_bps=GBIT)
            network.link(right, server, rate_bps=GBIT)
            ends += send(network, client, server, 300_000, seed=number)
        finish(network, *ends)
        assert bottleneck.forth.stats()["delivered_octets"] >= 4 * 300_000
        assert network.topology.fabric.unroutable == 0


def test_every_host_reaches_every_other_over_several_routers():
    with Network(capture=False) as network:
        routers = [network.router() for _ in range(3)]
        for one, other in itertools.pairwise(routers):
            network.link(one, other, delay_ns=MS)
        hosts = [network.host() for _ in range(6)]
        for number, host in enumerate(hosts):
            network.link(host, routers[number % 3])
            host.stack.listen(("::", 80))
        ways = list(itertools.permutations(hosts, 2))
        conns = [one.stack.connect((other.station.v6, 80)) for one, other in ways]
        network.run(for_ns=SECOND)
        assert [conn.state for conn in conns] == ["ESTABLISHED"] * 30


def test_a_host_has_one_link():
    with Network() as network:
        one, _, _ = pair(network)
        with pytest.raises(ValueError, match=r"10\.0\.0\.1 has its link already"):
            network.link(one, network.router())


HARM = {"loss": 0.02, "duplicate": 0.02, "corrupt": 0.02, "reorder": 0.05}
COUNTERS = {"loss": "lost", "duplicate": "duplicated", "corrupt": "corrupted", "reorder": "reordered"}


@pytest.mark.parametrize("harm", HARM)
def test_each_harm_is_done_at_its_rate_and_no_other_is(harm):
    with Network(3, capture=False) as network:
        one, other, link = pair(network, rate_bps=50 * MBIT, delay_ns=5 * MS, **{harm: HARM[harm]})
        finish(network, *send(network, one, other, 3_000_000))
        counters = link.forth.stats()
        for name, counter in COUNTERS.items():
            if name == harm:
                assert 0.6 * HARM[harm] <= counters[counter] / counters["packets"] <= 1.5 * HARM[harm]
            else:
                assert counters[counter] == 0


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        with Network(seed, capture=False) as network:
            path = {"rate_bps": 10 * MBIT, "delay_ns": MS, "queue_packets": 30, "jitter_ns": MS}
            one, other, link = pair(network, **path, **HARM)
            finish(network, *send(network, one, other, 200_000))
            return link.forth.stats(), link.back.stats(), one.stack.stats(), network.clock.elapsed_ms

    assert run(5) == run(5) != run(6)


def harmed(model, packets=200_000):
    """Which of so many packets a pipe loses, as runs of lost ones."""
    lost = lost_by(Pipe(Conditions(loss=model), 1), packets)
    runs, run = [], 0
    for is_lost in lost:
        if is_lost:
            run += 1
        elif run:
            runs.append(run)
            run = 0
    return sum(lost) / packets, runs


def test_bernoulli_loss_comes_singly():
    share, runs = harmed(0.01)
    assert 0.009 < share < 0.011
    assert sum(runs) / len(runs) < 1.05


def test_gilbert_elliott_loss_comes_in_spells():
    """The share of bad is p / (p + r), a spell lasts 1 / r."""
    share, runs = harmed(GilbertElliott(to_bad=0.01, to_good=0.25))
    assert 0.034 < share < 0.043
    assert 3.6 < sum(runs) / len(runs) < 4.4


def test_the_good_and_the_bad_state_lose_at_rates_of_their_own():
    share, _ = harmed(GilbertElliott(to_bad=0.1, to_good=0.1, lost_in_bad=0.5, lost_in_good=0.1))
    assert 0.29 < share < 0.31


def test_a_burst_takes_so_many_in_a_row():
    share, runs = harmed(Burst(begin=0.001, packets=7))
    assert 0.006 < share < 0.008
    assert set(runs) <= {7, 14}


def test_ecn_capable_packets_are_marked_beyond_the_threshold_and_others_are_not():
    """RFC 3168 5: CE on ECT(0) and ECT(1), the IPv4 header's checksum kept right."""
    def codepoints(address, ect):
        src, dst = address
        frame = TcpSegment(src=src, dst=dst, payload=bytes(1000), traffic_class=ect).build()
        pipe = Pipe(Conditions(rate_bps=MBIT, mark_packets=3), 1)
        return [TcpSegment.parse(octets).traffic_class & 3 for octets in carry(pipe, [frame] * 6)]

    for address in (("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")):
        assert codepoints(address, 0) == [0] * 6
        assert codepoints(address, 1) == [1, 1, 1, 3, 3, 3]
        assert codepoints(address, 2) == [2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("v6", [False, True])
def test_a_router_says_what_is_too_big(v6):
    """RFC 792 and RFC 1191 4; RFC 4443 3.2: the next link's MTU, and the packet's beginning."""
    ends = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
    packet = TcpSegment(src=ends[0], dst=ends[1], payload=bytes(1400)).build()
    said = too_big(packet, 9, 1300)
    assert said[:12] == packet[6:12] + bytes([2, 0, 0, 0, 0, 9])
    header = 14 + (40 if v6 else 20)
    assert said[header : header + 2] == (b"\2\0" if v6 else b"\3\4")
    assert int.from_bytes(said[header + 4 : header + 8], "big") == 1300
    assert packet[14:].startswith(said[header + 8 :]) and len(said) >= header + 8 + 500
    assert len(said) - 14 <= (1280 if v6 else 576)


@pytest.mark.parametrize("icmp", [True, False])
def test_a_link_drops_what_is_beyond_its_mtu(icmp):
    with Network(capture=False) as network:
        one, other, router = network.host(), network.host(), network.router()
        network.link(one, router)
        narrow = network.link(router, other, mtu=1000, icmp=icmp)
        send(network, one, other, 100_000)
        network.run(for_ns=SECOND)
        assert narrow.forth.stats()["too_big"] > 0
        back = network.links[0].back.stats()
        assert (back["packets"] > narrow.back.stats()["packets"]) == icmp


def test_conditions_change_while_packets_are_on_their_way():
    with Network() as network:
        one, other, link = pair(network, delay_ns=10 * MS)
        other.stack.listen(("0.0.0.0", 80))
        conn = one.stack.connect((other.station.v4, 80))
        network.run(for_ns=5 * MS)
        link.change(loss=1.0)
        network.run(for_ns=500 * MS)
        assert conn.state == "SYN-SENT" and link.back.stats()["lost"] > 0
        link.change(loss=0.0)
        assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=60 * SECOND)


def test_a_run_that_fails_names_its_seed_and_leaves_captures(tmp_path):
    with pytest.raises(ZeroDivisionError) as failed, Network(77, capture=tmp_path) as network:
        one, other, _ = pair(network)
        other.stack.listen(("0.0.0.0", 80))
        one.stack.connect((other.station.v4, 80))
        network.run(for_ns=SECOND)
        assert 1 / 0
    (note,) = failed.value.__notes__
    assert "seed 77" in note
    captures = sorted(tmp_path.iterdir())
    assert len(captures) == 2 and all(str(path) in note and path.stat().st_size > 200 for path in captures)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": 1.5}, r"loss is a probability, 0\.0 to 1\.0, not 1\.5"),
        ({"reorder": -0.1}, "reorder is a probability"),
        ({"loss": GilbertElliott(to_bad=2, to_good=0)}, "to_bad is a probability"),
        ({"loss": Burst(0.1, 0)}, "a burst has at least one packet, not 0"),
        ({"delay_ns": -1}, "negative"),
        ({"queue_packets": -1}, "queue_packets is not negative"),
    ],
)
def test_bad_conditions_are_named(wrong, said):
    with Network() as network, pytest.raises(ValueError, match=said):
        pair(network, **wrong)
