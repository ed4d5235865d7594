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
    marks: set[str] = field(default_factory=set)


class Reference:
    """The same queue, with stream offsets for sequence numbers and nothing remembered but the marks."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.una = self.end = 0

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

    def acknowledge(self, ack: int) -> None:
        self.una = ack
        self.pieces = [piece for piece in self.pieces if piece.end > ack]
        if self.pieces:
            self.pieces[0].start = max(self.pieces[0].start, ack)

    def sack(self, blocks: list[tuple[int, int]]) -> int:
        believed = [(s, e) for s, e in blocks if self.una < s < e <= self.nxt]
        covered = {octet for start, end in believed for octet in range(start, end)}
        newly = 0
        for piece in self.sent:
            if "S" not in piece.marks and covered.issuperset(range(piece.start, piece.end)):
                piece.marks = (piece.marks | {"S"}) - {"L", "R"}
                newly += piece.end - piece.start
        return newly

    def mark_lost(self) -> int:
        """RFC 6675 4, IsLost, octet count alone."""
        newly = 0
        for at, piece in enumerate(self.sent):
            above = sum(p.end - p.start for p in self.sent[at:] if "S" in p.marks)
            if above > 2 * MSS and not piece.marks & {"S", "L"}:
                piece.marks.add("L")
                newly += piece.end - piece.start
        return newly

    def mark_head_lost(self) -> int:
        head = self.sent[0] if self.sent else None
        if head is None or head.marks & {"S", "L"}:
            return 0
        head.marks.add("L")
        return head.end - head.start

    def mark_all_lost(self, reneged: bool) -> None:
        for piece in self.sent:
            if reneged:
                piece.marks.discard("S")
            if "S" not in piece.marks:
                piece.marks = (piece.marks | {"L"}) - {"R"}

    def send_again(self) -> int | None:
        """RFC 6675 4, NextSeg, rule 1."""
        for piece in self.sent:
            if "L" in piece.marks and "R" not in piece.marks:
                piece.marks |= {"R", "E"}
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
    st.tuples(st.just("mark_lost"), st.none()),
    st.tuples(st.just("mark_head_lost"), st.none()),
    st.tuples(st.just("mark_all_lost"), st.booleans()),
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
        case "mark_all_lost", bool(reneged):
            board.mark_all_lost(reneged)
            reference.mark_all_lost(reneged)
        case "send_again", _:
            offset = reference.send_again()
            assert board.send_again() == (None if offset is None else wire(offset))
        case _:
            assert getattr(board, action)() == getattr(reference, action)()


@settings(max_examples=300)
@given(st.lists(steps, max_size=60))
def test_agrees_with_the_reference(actions: list[tuple[str, object]]) -> None:
    """RFC 2018, RFC 6675 3 and 4: marks, sums and pipe equal what is computed anew from every octet."""
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


def test_lost_when_more_than_two_segments_are_sacked_above() -> None:
    """RFC 6675 4, IsLost."""
    board = in_flight(10)
    board.sack((100, 200), (300, 400))
    assert board.mark_lost() == 0
    board.sack((500, 600))
    assert board.mark_lost() == 100
    board.sack((600, 700))
    assert board.mark_lost() == 100
    assert [seq for seq, _, marks in board.marks() if "L" in marks] == [0, 200]


def test_retransmission_goes_up_once_and_a_timeout_begins_it_again() -> None:
    """RFC 6675 4, NextSeg rule 1, and 5.1."""
    board = in_flight(10)
    board.sack((200, 300), (500, 900))
    board.mark_lost()
    assert [board.send_again() for _ in range(5)] == [0, 100, 300, 400, None]
    assert board.pipe == 4 * MSS + MSS
    board.mark_all_lost()
    assert [board.send_again() for _ in range(6)] == [0, 100, 300, 400, 900, None]


def test_a_timeout_after_reneging_sends_everything_again() -> None:
    """RFC 2018 8."""
    board = in_flight(4)
    board.sack((100, 400))
    board.mark_all_lost(reneged=True)
    assert board.sums == (0, 400, 0)
    assert [board.send_again() for _ in range(5)] == [0, 100, 200, 300, None]


def test_without_sack_each_duplicate_is_a_segment_that_has_left() -> None:
    """RFC 5681 3.2, RFC 6582 3.2: the inflation of the window, taken from the other side."""
    board = in_flight(10, sack=False)
    assert board.pipe == 1000
    board.set_dupacks(3)
    assert board.mark_head_lost() == 100
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
    board.mark_lost()
    assert board.send_again() == 0
