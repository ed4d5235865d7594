"""The scoreboard against a reference that looks at every octet."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from underpass.testing.probe_scoreboard import VISITS, ScoreboardProbe

MSS = 100
FRAMES = 256
ISS = 2**32 - 900                       # the sequence space ends within the queue


@dataclass
class Piece:
    """One frame of the reference: where it lies in the stream, and its marks."""

    start: int
    end: int
    sent: bool = False
    sent_us: int = 0
    marks: set[str] = field(default_factory=set)


class Reference:
    """The same queue, with stream offsets for sequence numbers and nothing remembered but the marks."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.una = self.end = self.now_us = 0
        self.delivered: list[tuple[int, int]] = []

    @property
    def nxt(self) -> int:
        return max((p.end for p in self.pieces if p.sent), default=self.una)

    @property
    def sent(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.sent]

    def queue(self, octets: int) -> None:
        self.pieces.append(Piece(self.end, self.end + octets))
        self.end += octets

    def send(self, count: int) -> None:
        for piece in [p for p in self.pieces if not p.sent][:count]:
            piece.sent = True
            piece.sent_us = self.now_us

    def acknowledge(self, ack: int) -> None:
        self.una = ack
        self.pieces = [piece for piece in self.pieces if piece.end > ack]
        if self.pieces:
            self.pieces[0].start = max(self.pieces[0].start, ack)

    def deliver(self, piece: Piece) -> None:
        """RFC 8985 6.2 steps 1 and 2; the smallest round trip is 0."""
        self.delivered.append((piece.sent_us, piece.end))

    def sack(self, blocks: list[tuple[int, int]]) -> int:
        believed = [(s, e) for s, e in blocks if self.una < s < e <= self.nxt]
        covered = {octet for start, end in believed for octet in range(start, end)}
        newly = 0
        for piece in self.sent:
            if "S" not in piece.marks and covered.issuperset(range(piece.start, piece.end)):
                self.deliver(piece)
                piece.marks = (piece.marks | {"S"}) - {"L", "R"}
                newly += piece.end - piece.start
        return newly

    def detect_loss(self, rtt_us: int) -> int | None:
        """RFC 8985 6.2 step 5, every segment looked at; a reordering window of 0."""
        last = max(self.delivered, default=(-1, -1))
        again = []
        for piece in self.sent:
            waits = "S" not in piece.marks and (piece.marks & {"L", "R"}) != {"L"}
            if waits and (piece.sent_us, piece.end) < last:
                overdue = self.now_us - piece.sent_us - rtt_us
                if overdue >= 0:
                    piece.marks = (piece.marks | {"L"}) - {"R"}
                else:
                    again.append(-overdue)
        return 1000 * max(again) if again else None

    def lose_head(self) -> None:
        if self.sent and not self.sent[0].marks & {"S", "L"}:
            self.sent[0].marks.add("L")

    def lose_all(self) -> None:
        for piece in self.sent:
            if "S" not in piece.marks:
                piece.marks = (piece.marks | {"L"}) - {"R"}

    def disbelieve(self) -> None:
        for piece in self.sent:
            piece.marks.discard("S")

    def lose_nothing(self) -> None:
        for piece in self.sent:
            if "R" not in piece.marks:
                piece.marks.discard("L")

    def send_again(self) -> int | None:
        """RFC 6675 4, NextSeg, rule 1."""
        for piece in self.sent:
            if "L" in piece.marks and "R" not in piece.marks:
                piece.marks |= {"R", "E"}
                piece.sent_us = self.now_us
                return piece.start
        return None

    def sums(self) -> tuple[int, ...]:
        return tuple(sum(p.end - p.start for p in self.pieces if mark in p.marks) for mark in "SLR")

    def pipe(self) -> int:
        """RFC 6675 4, SetPipe: 1 for what is neither sacked nor lost, and 1 for what was sent again."""
        pipe = 0
        for piece in self.sent:
            octets = piece.end - piece.start
            pipe += octets if not piece.marks & {"S", "L"} else 0
            pipe += octets if "R" in piece.marks else 0
        return pipe


spans = st.tuples(st.integers(-150, 3000), st.integers(-50, 700))
steps = st.one_of(
    st.tuples(st.just("queue"), st.lists(st.integers(1, MSS), min_size=1, max_size=8)),
    st.tuples(st.just("send"), st.integers(1, 12)),
    st.tuples(st.just("acknowledge"), st.integers(0, 400)),
    st.tuples(st.just("sack"), st.lists(spans, min_size=1, max_size=4)),
    st.tuples(st.just("sack frames"), st.lists(st.integers(1, 40), min_size=1, max_size=4)),
    st.tuples(st.just("pass time"), st.integers(1, 200)),
    st.tuples(st.just("detect_loss"), st.integers(0, 300)),
    st.tuples(st.just("lose_head"), st.none()),
    st.tuples(st.just("lose_all"), st.none()),
    st.tuples(st.just("disbelieve"), st.none()),
    st.tuples(st.just("lose_nothing"), st.none()),
    st.tuples(st.just("send_again"), st.none()),
)


def wire(offset: int) -> int:
    return (ISS + offset) % 2**32


def take(board: ScoreboardProbe, reference: Reference, action: str, value: object) -> None:
    """Do one step to both, and compare what it returns."""
    match action, value:
        case "queue", list(sizes):
            for octets in sizes:
                if board.frames.free:
                    board.queue(octets)
                    reference.queue(octets)
        case "send", int(count):
            board.send(count)
            reference.send(count)
        case "acknowledge", int(octets):
            ack = min(reference.una + octets, reference.nxt)
            board.acknowledge(wire(ack))
            reference.acknowledge(ack)
        case "sack", list(blocks):
            blocks = [(reference.una + start, reference.una + start + length) for start, length in blocks]
            assert board.sack(*((wire(s), wire(e)) for s, e in blocks)) == reference.sack(blocks)
        case "sack frames", list(indices):
            pieces = [reference.pieces[i % len(reference.pieces)] for i in indices]
            blocks = [(piece.start, piece.end) for piece in pieces]
            assert board.sack(*((wire(s), wire(e)) for s, e in blocks)) == reference.sack(blocks)
        case "pass time", int(us):
            reference.now_us += us
            board.now_ns += 1000 * us
        case "detect_loss", int(rtt_us):
            assert board.detect_loss(rtt_us) == reference.detect_loss(rtt_us)
        case "send_again", _:
            offset = reference.send_again()
            assert board.send_again() == (None if offset is None else wire(offset))
        case _:
            assert getattr(board, action)() == getattr(reference, action)()


@settings(max_examples=300)
@given(st.lists(steps, max_size=60))
def test_agrees_with_the_reference(actions: list[tuple[str, object]]) -> None:
    """RFC 2018, RFC 6675 3, RFC 8985 6.2: marks, sums and pipe equal what is computed anew."""
    board, reference = ScoreboardProbe(iss=wire(0), mss=MSS, frames=FRAMES), Reference()
    take(board, reference, "queue", [MSS] * 30)
    take(board, reference, "send", 25)
    for action, value in actions:
        if action != "sack frames" or reference.pieces:
            take(board, reference, action, value)
        assert board.marks() == [
            (wire(p.start), p.end - p.start, "".join(m for m in "SLRE" if m in p.marks))
            for p in reference.pieces
        ]
        assert board.sums == reference.sums()
        assert board.pipe == reference.pipe()


def in_flight(frames: int, sack: bool = True) -> ScoreboardProbe:
    """A queue of full frames, all sent."""
    board = ScoreboardProbe(mss=MSS, sack=sack, frames=max(frames, 64))
    for _ in range(frames):
        board.queue(MSS)
    board.send(frames)
    return board


def test_blocks_that_cannot_be_are_ignored() -> None:
    """RFC 2018 4, RFC 2883 4: empty, inverted, outside what is outstanding, not above SEG.ACK."""
    board = in_flight(10)
    board.acknowledge(200)
    for block in [(300, 300), (500, 400), (900, 1100), (1000, 1100), (0, 200), (100, 400), (200, 400)]:
        assert board.sack(block) == 0
    assert board.sack((400, 600), ack=400) == 0
    assert board.sack((400, 600)) == 200


def test_a_frame_counts_only_when_wholly_covered() -> None:
    board = in_flight(10)
    assert board.sack((350, 550)) == 100
    assert board.sack((350, 460), (455, 600)) == 100, "two blocks that overlap cover what lies across them"


def test_lost_is_what_was_sent_well_before_what_was_delivered() -> None:
    """RFC 8985 6.2 step 5."""
    board = in_flight(3)
    board.now_ns += 400_000
    for _ in range(3):
        board.queue(MSS)
    board.send(3)
    board.now_ns += 1_000_000
    board.sack((400, 500))
    assert board.detect_loss(1000, window_us=500) == 500_000
    assert [seq for seq, _, marks in board.marks() if "L" in marks] == []
    board.now_ns += 100_000
    assert board.detect_loss(1000, window_us=500) == 400_000
    assert [seq for seq, _, marks in board.marks() if "L" in marks] == [0, 100, 200]
    board.now_ns += 400_000
    assert board.detect_loss(1000, window_us=500) is None
    assert [seq for seq, _, marks in board.marks() if "L" in marks] == [0, 100, 200, 300], "not the last one"


def test_what_was_sent_again_may_be_lost_again() -> None:
    """RFC 8985 6.2 step 5: by what was sent after it."""
    board = in_flight(3)
    board.now_ns += 1000_000
    board.sack((100, 200))
    board.detect_loss(1000)
    assert board.send_again() == 0
    board.queue(MSS)
    board.send(1)
    board.now_ns += 1000_000
    board.sack((300, 400))
    board.detect_loss(1000)
    assert board.sums == (200, 200, 0)
    assert [board.send_again() for _ in range(3)] == [0, 200, None]


def test_retransmission_goes_up_once_and_a_timeout_begins_it_again() -> None:
    """RFC 6675 4, NextSeg rule 1, and 5.1."""
    board = in_flight(10)
    board.sack((200, 300), (500, 900))
    board.detect_loss(0)
    assert [board.send_again() for _ in range(5)] == [0, 100, 300, 400, None]
    assert board.pipe == 4 * MSS + MSS
    board.lose_all()
    assert [board.send_again() for _ in range(6)] == [0, 100, 300, 400, 900, None]


def test_a_timeout_spares_what_was_sent_just_now() -> None:
    """RFC 8985 6.3: but never the first segment."""
    board = in_flight(3)
    board.now_ns += 1000
    board.queue(MSS)
    board.send(1)
    board.lose_all(sent_upto_ns=board.now_ns - 1000)
    assert board.sums == (0, 300, 0)
    board = in_flight(3)
    board.now_ns += 1000
    board.sack((100, 200))
    board.lose_all(sent_upto_ns=board.now_ns)
    assert [board.send_again() for _ in range(3)] == [0, 200, None]
    board.lose_all(sent_upto_ns=0)
    assert board.sums == (100, 200, 100), "the second was sent again later"


def test_a_timeout_after_reneging_sends_everything_again() -> None:
    """RFC 2018 8."""
    board = in_flight(4)
    board.sack((100, 400))
    board.disbelieve()
    board.lose_all()
    assert board.sums == (0, 400, 0)
    assert [board.send_again() for _ in range(5)] == [0, 100, 200, 300, None]


def test_after_a_mistake_only_what_was_sent_again_stays_marked() -> None:
    board = in_flight(4)
    board.lose_all()
    board.send_again()
    board.lose_nothing()
    assert board.sums == (0, 100, 100)
    assert board.pipe == 400


def test_without_sack_each_duplicate_is_a_segment_that_has_left() -> None:
    """RFC 5681 3.2, RFC 6582 3.2: the inflation of the window, taken from the other side."""
    board = in_flight(10, sack=False)
    assert board.pipe == 1000
    board.set_dupacks(3)
    board.lose_head()
    assert board.pipe == 600
    assert board.send_again() == 0
    assert board.pipe == 700
    board.set_dupacks(255)
    assert board.pipe == 0


def test_one_acknowledgment_looks_at_a_bounded_number_of_frames() -> None:
    """What lies further off than a walk goes is marked when the head has moved on."""
    board = in_flight(VISITS + 100)
    far = ((VISITS + 50) * MSS, (VISITS + 60) * MSS)
    assert board.sack(far) == 0
    board.acknowledge(100 * MSS)
    assert board.sack(far) == 10 * MSS


def test_a_long_run_of_sacked_frames_is_one_step() -> None:
    """Many more frames than a walk may visit are in reach where most of them are sacked."""
    board = in_flight(VISITS + 100)
    for start in range(1, VISITS - 100, 100):
        board.sack((start * MSS, (start + 100) * MSS))
    assert board.sack(((VISITS + 90) * MSS, (VISITS + 95) * MSS)) == 5 * MSS
    board.detect_loss(0)
    assert board.send_again() == 0
