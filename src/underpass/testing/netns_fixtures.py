"""pytest fixtures over `namespaces`: import them in a conftest.py."""

from collections.abc import Callable, Iterator

import pytest

from underpass.testing.namespaces import VethPair, why_not


@pytest.fixture(scope="session")
def netns_allowed() -> None:
    """Skips, with the reason, where no network namespaces can be made."""
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def make_veth(netns_allowed: None) -> Iterator[Callable[..., VethPair]]:
    """Makes veth pairs: make_veth(mtu=1500, queues=1). All of them are removed at the test's end."""
    pairs: list[VethPair] = []

    def make(mtu: int = 1500, queues: int = 1) -> VethPair:
        pairs.append(VethPair("test", mtu, queues))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture
def veth(make_veth: Callable[..., VethPair]) -> VethPair:
    """One veth pair of MTU 1500 with one queue."""
    return make_veth()
