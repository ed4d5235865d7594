"""The counters' names."""

from underpass.tcp.counters import TCP_COUNTERS


def test_every_counter_of_the_struct_has_its_name_once() -> None:
    assert len(TCP_COUNTERS) == len(set(TCP_COUNTERS)) > 40
    assert {"segments_in", "cookies_sent", "challenge_acks", "no_neighbour"} <= set(TCP_COUNTERS)
    assert "refused" not in TCP_COUNTERS, "these have the names of wire.reason"
