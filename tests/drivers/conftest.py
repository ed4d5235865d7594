"""One guest for all tests of the drivers, and a veth pair of this machine beside it: `make test-drivers`."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.drivers.cards import CARDS, GUESTS, VETH, Card
from tests.drivers.machine import HERE, Agent, Ground, Guest
from tests.drivers.packages import REPOSITORY, Unavailable, prepare
from tests.drivers.wire import Wire, wire

from underpass.testing.namespaces import VethPair, why_not

Seen = Callable[[str, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is tried on a card is a test of the drivers, and has the time to fetch and boot the guest."""
    for item in items:
        if "ground" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.drivers)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """The running guest."""
    reason = why_not()
    try:
        packages = prepare()
    except Unavailable as error:
        reason = str(error)
    if reason:
        pytest.exit(f"the drivers cannot be tried here: {reason}", returncode=1)
    with Guest(packages, GUESTS) as running:
        yield running


@pytest.fixture(scope="session")
def veth_ground() -> Iterator[Ground]:
    """A veth pair with two queues, and an agent in the namespace of one end."""
    with VethPair("drivers", queues=2) as pair:
        far, near = pty.openpty()
        agent = subprocess.Popen(
            pair.ours.command(sys.executable, str(HERE / "guest" / "agent.py"), os.ttyname(near)),
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
        try:
            with open(far, "r+b", buffering=0) as line:
                heard = Agent(line, lambda: "nothing")
                assert heard.hear() == "ready"
                yield Ground(VETH, heard, pair.ours, pair.peer,
                             lambda up: pair.peer.run("ip", "link", "set", "up1", "up" if up else "down"))
        finally:
            agent.kill()
            agent.wait()
            os.close(near)


@pytest.fixture(params=CARDS.values(), ids=CARDS)
def card(request: pytest.FixtureRequest) -> Card:
    """Each card in turn."""
    return request.param


@pytest.fixture
def ground(request: pytest.FixtureRequest, card: Card) -> Ground:
    """Where the card is tried."""
    if card is VETH:
        return request.getfixturevalue("veth_ground")
    return request.getfixturevalue("guest").grounds[card.name]


@pytest.fixture
def peer_wire(ground: Ground) -> Iterator[Wire]:
    """The peer's end of the card's wire."""
    with wire(ground.peer) as opened:
        yield opened


@pytest.fixture
def seen(card: Card) -> Seen:
    """Holds a cell of the card's row in docs/drivers.md to what was seen: seen(column, cell)."""

    def hold(column: str, cell: str) -> None:
        assert card.row[column] == cell, f"docs/drivers.md says otherwise of {card.name}"

    return hold
