"""A path through the relay, for a module at a time: a process can have only one at once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.relay.path import RelayedPair


@pytest.fixture(scope="module")
def path() -> Iterator[RelayedPair]:
    """Client, relay and server; nothing of them is left afterwards."""
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    with RelayedPair() as pair:
        yield pair
    assert [it.name for it in pair.namespaces if Path(f"/run/netns/{it.name}").exists()] == []
    assert pair.process is not None and pair.process.poll() is not None
