"""The invariants notice what is wrong with a stack."""

import pytest

from underpass.testing import MS, Network
from underpass.testing.invariants import what_is_broken
from underpass.testing.probe_invariants import spoil


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("gap", "the send queue has no gap"),
        ("tail", "the send queue ends with its tail"),
        ("sent frames", "frames in the send queue are counted"),
        ("received octets", "octets in the receive queue are counted"),
        ("mark", "the scoreboard's sums are those of its marks"),
        ("order", "SND.UNA =< SND.NXT"),
        ("window", "the congestion window holds a segment"),
        ("wheel", "the wheel fires no later"),
        ("leak", "every frame is free or in a queue"),
        ("half open", "half-open connections are counted"),
        ("blocks", "connection blocks in use are counted"),
    ],
)
def test_each_is_noticed(what, said):
    with Network(capture=False) as network:
        one, other = network.host(), network.host()
        network.link(one, other, delay_ns=MS)
        other.stack.listen(("0.0.0.0", 80))
        conn = one.stack.connect((other.station.v4, 80))
        network.run(until=lambda: conn.state == "ESTABLISHED")
        conn.send(bytes(5000))
        network.run(for_ns=0)
        assert what_is_broken(one.stack) is None
        spoil(one.stack, conn.index_or_none(), what)
        assert said in what_is_broken(one.stack)
        spoil(one.stack, conn.index_or_none(), what)
        assert what_is_broken(one.stack) is None


def test_a_network_that_checks_stops_at_the_turn():
    said = r"10\.0\.0\.1 does not keep to this: frames in the send queue"
    with pytest.raises(AssertionError, match=said), Network(check=True) as network:
        one, other = network.host(), network.host()
        network.link(one, other, delay_ns=MS)
        other.stack.listen(("0.0.0.0", 80))
        conn = one.stack.connect((other.station.v4, 80))
        network.run(until=lambda: conn.state == "ESTABLISHED")
        spoil(one.stack, conn.index_or_none(), "sent frames")
        network.run(for_ns=0)
