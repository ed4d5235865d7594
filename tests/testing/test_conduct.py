"""The checker on the wire: it lets right conduct pass and names each wrong."""

import pytest

from underpass.testing.conduct import Conduct, MisconductError, Spans
from underpass.testing.packets import Flags, TcpSegment

ACK, FIN, RST, SYN, URG = Flags.ACK, Flags.FIN, Flags.RST, Flags.SYN, Flags.URG
ISS, IRS = 2**32 - 3, 2**32 - 40


def host(flags=ACK, payload=b"", *, seq=1, ack=1, **fields):
    """A segment that the host sends; its numbers from the SYNs on."""
    sack = tuple(((IRS + left) % 2**32, (IRS + right) % 2**32) for left, right in fields.pop("sack", ()))
    fields.setdefault("timestamps", (100, 7))
    seq, ack = (ISS + seq) % 2**32, (IRS + ack) % 2**32 if flags & ACK else 0
    window = fields.pop("window", 1000)
    seg = TcpSegment(flags=flags, payload=payload, seq=seq, ack=ack, sack=sack, window=window)
    return vars(seg) | fields, True


def peer(flags=ACK, payload=b"", *, seq=1, ack=1, **fields):
    """One that reaches it."""
    fields.setdefault("timestamps", (7, 100))
    seq, ack = (IRS + seq) % 2**32, (ISS + ack) % 2**32
    ends = {"src": "10.0.0.2", "dst": "10.0.0.1", "src_port": 80, "dst_port": 40000}
    seg = TcpSegment(flags=flags, payload=payload, seq=seq, ack=ack, window=fields.pop("window", 100), **ends)
    return vars(seg) | fields, False


OPENED = [
    host(SYN, seq=0, mss=1460, timestamps=(100, 0)),
    peer(SYN | ACK, seq=0, mss=1000),
    host(),
]


def watch(*segments):
    conduct = Conduct()
    for fields, is_sent in (*OPENED, *segments):
        conduct.see(TcpSegment(**fields).build(), is_sent)
    return conduct.checked


@pytest.mark.parametrize(
    "segments",
    [
        [host(payload=b"ab"), host(payload=b"c", seq=3), host(payload=b"abc")],
        [host(payload=b"ab", flags=ACK | FIN), host(payload=b"b", seq=2, flags=ACK | FIN), host(seq=4)],
        [peer(payload=b"x" * 9), host(ack=10, window=991), host(ack=10, window=999)],
        [peer(payload=b"x", seq=5), host(sack=[(5, 6)]), peer(payload=b"abcd"), host(ack=6, window=995)],
        [peer(flags=ACK | FIN), host(ack=2, window=0)],
        [peer(timestamps=(9, 100)), host(timestamps=(101, 9))],
        [peer(window=5), host(payload=b"x" * 101)],
        [host(RST, seq=700, timestamps=None)],
        [host(SYN, seq=99, timestamps=None, mss=1460), peer(SYN | ACK, seq=99, ack=100, timestamps=None)],
    ],
)
def test_right_conduct_passes(segments):
    assert watch(*segments) == 2 + sum(is_sent for _, is_sent in segments)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([host(payload=b"b", seq=2)], "octets 1 to 2 were left out"),
        ([host(payload=b"ab"), host(payload=b"aX")], "differ from those sent before"),
        ([host(payload=b"ab"), host(payload=b"Xc", seq=2)], "differ from those sent before"),
        ([host(flags=ACK | FIN), host(payload=b"a", seq=2)], "the FIN stood at 1"),
        ([host(payload=b"ab"), host(ACK | FIN, seq=3), host(ACK | FIN, seq=2)], "the FIN stood at 3"),
        ([host(payload=b"x" * 102)], "the peer's window ends at 101"),
        ([host(ack=2)], "only 1 octets of the peer came"),
        ([peer(payload=b"x", seq=3), host(ack=4)], "only 1 octets of the peer came"),
        ([peer(payload=b"abc"), host(ack=4), host(ack=3, window=1001)], "4 was acknowledged before"),
        ([host(window=999)], "the window's edge was at 1001 before, 1000 now"),
        ([peer(payload=b"x", seq=5), host(sack=[(5, 7)])], "the SACK block 5 to 7 is of what did not come"),
        ([peer(payload=b"x", seq=5), host(sack=[(5, 5)])], "the SACK block 5 to 5"),
        ([host(timestamps=(99, 7))], "the timestamp was 100 before"),
        ([host(timestamps=None)], "timestamps were agreed on"),
        ([host(timestamps=(100, 8))], "the peer never sent the timestamp 8"),
        ([peer(window=9000), host(payload=b"x" * 989)], "the peer takes 1000 octets at most"),
        ([host(flags=Flags.PSH, payload=b"a")], "it acknowledges nothing"),
        ([host(flags=ACK | URG)], "urgent"),
    ],
)
def test_each_wrong_is_named(segments, said):
    with pytest.raises(MisconductError, match=said):
        watch(*segments)


def test_what_is_damaged_did_not_come():
    conduct = Conduct()
    for fields, is_sent in OPENED:
        conduct.see(TcpSegment(**fields).build(), is_sent)
    fields, _ = peer(payload=b"abc")
    conduct.see(TcpSegment(**fields).build(tcp_checksum=1), False)
    with pytest.raises(MisconductError, match="only 1 octets"):
        conduct.see(TcpSegment(**host(ack=4)[0]).build(), True)
    with pytest.raises(MisconductError, match="malformed"):
        conduct.see(TcpSegment(**host()[0]).build(tcp_checksum=1), True)


def test_spans_join_where_they_touch():
    spans = Spans()
    for start, end in ((5, 7), (0, 2), (9, 12), (2, 3), (7, 9), (4, 4)):
        spans.add(start, end)
    assert spans.spans == [(0, 3), (5, 12)]
    assert spans.contiguous == 3
    assert spans.holds(6, 11) and not spans.holds(2, 6)
