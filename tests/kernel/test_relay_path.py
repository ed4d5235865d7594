"""The relay between real interfaces: what its rules do to the kernel's own packets."""

from collections.abc import Iterator

import pytest

from underpass.apps.relay.path import RelayedPair, ping_ms
from underpass.linux.namespaces import CommandError

PINGS = 200


@pytest.fixture(autouse=True)
def without_rules(path: RelayedPair) -> Iterator[None]:
    yield
    path.start({}, {})


def pings(path: RelayedPair, count: int = PINGS) -> str:
    """What ping says at the end; some may be lost."""
    return path.client.run("ping", "-q", "-c", str(count), "-i", "0.005", "-W", "1", path.server.address,
                           check=False).stdout


def test_both_families_pass(path: RelayedPair) -> None:
    path.start({}, {})
    for address in (path.server.address, path.server.address6):
        assert path.client.run("ping", "-c", "1", "-W", "5", address).returncode == 0


def test_each_direction_adds_its_delay(path: RelayedPair) -> None:
    path.start({"delay_ms": 20}, {"delay_ms": 10})
    assert ping_ms(path) >= 30


def test_what_is_to_be_lost_is_lost(path: RelayedPair) -> None:
    pings(path, 1)                                  # neighbours are known
    path.start({"lose": 1}, {})
    with pytest.raises(CommandError):
        ping_ms(path)
    path.start({"lose": 0.2}, {})
    received = int(pings(path).split(" received")[0].rsplit(" ", 1)[1])
    lost = path.stats()["rightward"]["lost"]
    assert PINGS - received <= lost <= PINGS - received + 5         # a neighbour may have been asked for
    assert PINGS / 2 < received < PINGS


def test_what_is_to_be_doubled_comes_twice(path: RelayedPair) -> None:
    path.start({"duplicate": 1}, {})
    assert "+10 duplicates" in pings(path, 10) or "+9 duplicates" in pings(path, 10)


def test_nothing_is_lost_but_by_rule(path: RelayedPair) -> None:
    path.start({"delay_ms": 5}, {"delay_ms": 5})
    assert f"{PINGS} received" in pings(path)
    assert path.unintended() == 0
