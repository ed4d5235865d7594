"""The loss probe (RFC 8985 7)."""

from underpass.testing.flight import MSS, RTT, ack, at, block, in_flight, numbers, opened
from underpass.testing.peer import ACK, FIN

PTO = 2 * RTT


def test_silence_is_met_with_the_last_segment_again(wire, peer):
    """RFC 8985 7.2, 7.3: after two smoothed round trips"""
    opened(peer, segments=5)
    numbers(peer)
    peer.expect_nothing(for_ms=PTO)
    peer.expect(ACK, seq=at(4), within_ms=5)
    assert (wire.count("loss_probes"), wire.count("timeouts")) == (1, 0)


def test_a_segment_never_sent_is_the_better_probe(wire, peer):
    """RFC 8985 7.3: even where the congestion window is full"""
    opened(peer, segments=20)
    assert len(numbers(peer)) == 10
    peer.expect_nothing(for_ms=PTO)
    peer.expect(ACK, seq=at(10), within_ms=5)
    assert (wire.count("loss_probes"), wire.count("retransmits")) == (1, 0)


def test_the_probe_does_not_leave_the_peers_window(wire, peer):
    """RFC 8985 7.3"""
    opened(peer, segments=20, window=5 * MSS)
    assert len(numbers(peer)) == 5
    peer.expect_nothing(for_ms=PTO)
    peer.expect(ACK, seq=at(4), within_ms=5)


def test_the_answer_to_the_probe_repairs_the_tail_without_a_timeout(wire, peer):
    """RFC 8985 7.1: the last three segments were lost"""
    opened(peer, segments=6)
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 3)
    peer.expect(ACK, seq=at(5), within_ms=PTO + 5)
    wire.run(ms=RTT)
    ack(peer, 3, block(5))
    assert peer.expect(ACK, within_ms=10).seq == at(3)
    wire.run(ms=RTT)
    ack(peer, 4, block(5))
    assert numbers(peer) == [4]
    wire.run(ms=RTT)
    ack(peer, 6)
    peer.expect_nothing(for_ms=10_000)
    assert wire.count("timeouts") == 0


def test_the_answer_counts_though_it_echoes_an_old_timestamp(wire, peer):
    """RFC 8985 6.2 step 2, RFC 7323 4.3: what is received out of order does not move TS.Recent"""
    peer.timestamp = 7
    opened(peer, segments=6, mss=MSS + 12, timestamps=(7, 0))
    numbers(peer)
    first = peer.ts_recent
    wire.run(ms=RTT)
    ack(peer, 3, timestamps=(8, first))
    peer.expect(ACK, seq=at(5), within_ms=PTO + 5)
    wire.run(ms=RTT)
    ack(peer, 3, block(5), timestamps=(8, first))
    peer.expect(ACK, seq=at(3), within_ms=10)


def test_a_single_segment_is_given_time_for_a_delayed_acknowledgment(wire, peer):
    """RFC 8985 7.2: TLP.max_ack_delay, but no later than the retransmission timer"""
    opened(peer, segments=1)
    assert numbers(peer) == [0]
    peer.expect_nothing(for_ms=199)
    peer.expect(ACK, seq=at(0), within_ms=50)
    assert (wire.count("loss_probes"), wire.count("timeouts")) == (1, 0)


def test_after_the_probe_the_retransmission_timer_runs(wire, peer):
    """RFC 8985 7.3: one probe; then RFC 6298"""
    opened(peer, segments=5)
    numbers(peer)
    peer.expect(ACK, seq=at(4), within_ms=100)
    start = wire.now_ns
    peer.expect(ACK, seq=at(0), within_ms=1000)
    assert wire.now_ns - start > 199e6
    assert (wire.count("loss_probes"), wire.count("timeouts")) == (1, 1)


def test_new_data_puts_the_probe_off(wire, peer):
    """RFC 8985 7.2: the PTO starts anew with each transmission of new data"""
    conn = opened(peer, segments=2)
    numbers(peer)
    wire.run(ms=PTO - 5)
    conn.send(bytes(2 * MSS))
    assert numbers(peer) == [2, 3]
    peer.expect_nothing(for_ms=PTO)
    peer.expect(ACK, seq=at(3), within_ms=5)


def test_an_acknowledgment_puts_the_probe_off(wire, peer):
    """RFC 8985 7.2: and with each acknowledgment of new data"""
    opened(peer, segments=6)
    numbers(peer)
    wire.run(ms=PTO - 5)
    ack(peer, 2)
    peer.expect_nothing(for_ms=PTO)
    peer.expect(ACK, seq=at(5), within_ms=20)


def test_a_probe_that_repaired_the_loss_is_a_sign_of_congestion(wire, peer):
    """RFC 8985 7.4.2 case 2: seen when more than the probe is acknowledged without a duplicate reported"""
    conn = opened(peer, segments=5)
    numbers(peer)
    peer.expect(ACK, seq=at(4), within_ms=100)
    ack(peer, 5)
    assert wire.count("loss_probe_repairs") == 0
    cwnd = conn.info()["cwnd_bytes"]
    conn.send(bytes(2 * MSS))
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 7)
    assert wire.count("loss_probe_repairs") == 1
    assert conn.info()["cwnd_bytes"] < cwnd


def test_a_probe_that_was_not_needed_costs_nothing(wire, peer):
    """RFC 8985 7.4.2 case 1: the duplicate is reported"""
    conn = opened(peer, segments=5)
    numbers(peer)
    cwnd = conn.info()["cwnd_bytes"]
    peer.expect(ACK, seq=at(4), within_ms=100)
    ack(peer, 5)
    ack(peer, 5, block(4))
    conn.send(bytes(2 * MSS))
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 7)
    assert wire.count("loss_probe_repairs") == 0
    assert conn.info()["cwnd_bytes"] >= cwnd


def test_a_probe_that_was_not_needed_and_a_peer_that_does_not_report(wire, peer):
    """RFC 8985 7.4.2: a duplicate ACK without SACK block"""
    conn = opened(peer, segments=6)
    numbers(peer)
    peer.expect(ACK, seq=at(5), within_ms=100)
    conn.send(b"more")
    ack(peer, 6)
    ack(peer, 6)
    peer.drain()
    wire.run(ms=RTT)
    peer.send(ACK, ack=at(6) + 4)
    assert wire.count("loss_probe_repairs") == 0


def test_a_probe_with_new_data_never_counts_as_repair(wire, peer):
    """RFC 8985 7.4.2: TLP.is_retrans"""
    opened(peer, segments=20)
    numbers(peer)
    peer.expect(ACK, seq=at(10), within_ms=100)
    ack(peer, 11)
    wire.run(ms=1)
    ack(peer, 14)
    assert wire.count("loss_probe_repairs") == 0


def test_without_sack_there_is_no_probe(wire, peer):
    """RFC 8985 7.2"""
    opened(peer, segments=5, sack_permitted=False)
    numbers(peer)
    peer.expect_nothing(for_ms=199)
    assert wire.count("loss_probes") == 0


def test_where_something_is_reported_rack_acts_and_no_probe(wire, peer):
    """RFC 8985 7.2: no probe while the scoreboard holds anything"""
    in_flight(peer)
    ack(peer, 0, block(1, 10))
    assert numbers(peer) == [0]
    peer.expect_nothing(for_ms=150)
    assert wire.count("loss_probes") == 0


def test_a_fin_alone_is_probed_too(wire, peer):
    """RFC 8985 7.3: the segment with the highest sequence number"""
    conn = opened(peer, segments=1)
    numbers(peer)
    ack(peer, 1)
    conn.shutdown()
    peer.expect(FIN | ACK, seq=at(1))
    peer.expect(FIN | ACK, seq=at(1), within_ms=300)
    assert (wire.count("loss_probes"), wire.count("timeouts")) == (1, 0)
    peer.send(ACK)
    assert conn.state == "FIN-WAIT-2"


def test_a_fin_with_data_is_probed_with_it(wire, peer):
    """RFC 8985 7.3"""
    conn = opened(peer)
    conn.send(bytes(2 * MSS))
    conn.shutdown()
    assert numbers(peer) == [0, 1]
    seg = peer.expect(FIN | ACK, within_ms=300)
    assert seg.seq + len(seg.payload) == at(2)


def test_a_window_that_closes_ends_the_wait(wire, peer):
    """RFC 9293 3.8.6.1: where all is acknowledged and no window is left, the persist timer runs"""
    opened(peer, segments=8, window=5 * MSS)
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 5, window=0)
    peer.expect(ACK, seq=at(5) - 1, within_ms=1000)
    assert (wire.count("loss_probes"), wire.count("window_probes")) == (0, 1)
