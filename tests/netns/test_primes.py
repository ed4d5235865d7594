"""The CPU-bound application, in one thread and in two, on real veth."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.bench.clients import wrk
from underpass.apps.bench.primes_figure import Primes, kind
from underpass.apps.primes.primes import count_primes
from underpass.linux.namespaces import Pair


def test_primes_are_counted() -> None:
    assert [count_primes(limit) for limit in (0, 2, 3, 4, 100, 800)] == [0, 0, 1, 2, 25, 139]


@pytest.fixture(params=[(io, arrangement) for arrangement in ("one", "two")
                        for io in ("afxdp", "busy-poll", "dpdk")] + [("kernel", "one")], ids="-".join)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Primes]:
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    if request.param[0] == "dpdk":
        pytest.importorskip("underpass.link.dpdk", reason="built without DPDK: libdpdk-dev was not there")
    with Pair() as pair:
        server = kind(*request.param)(pair, tmp_path, tmp_path, None)
        yield server
        assert server.stop() == 0


def test_requests_are_answered(served: Primes, tmp_path: Path) -> None:
    curl = ("curl", "-sS", "--max-time", "5")
    assert served.pair.client.run(*curl, served.url("100"), served.url("800")).stdout.split() == ["25", "139"]
    for path in ("x", "99999999999", "1%20"):
        refused = served.pair.client.run(*curl, served.url(path), check=False).returncode
        assert refused in (52, 56)              # no answer, or a reset
    answer = wrk(served.pair.client, served.url("200"), tmp_path, connections=50, seconds=1, core=0)
    assert answer.requests > 0
    assert answer.errors == 0
