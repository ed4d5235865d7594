"""The same transfers with Linux at the other end, as client and as server, over paths that misbehave.

Both ends compare every octet. Linux uses each congestion control that it has, set on each socket.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from underpass.apps.bulk.bulk import congestion_names
from underpass.apps.bulk.host import Host
from underpass.apps.relay.path import RelayedPair
from underpass.linux.namespaces import until

AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
SIZE = 1_500_000
LIMIT_S = 60
PATHS = {
    "nothing": {},
    "delay": {"delay_ms": 5},
    "loss": {"lose": 0.01, "delay_ms": 1},
    "reordering": {"reorder": 0.05, "reorder_ms": 1, "delay_ms": 1},
    "duplication": {"duplicate": 0.05},
    "everything": {"lose": 0.005, "reorder": 0.02, "reorder_ms": 1, "duplicate": 0.02, "delay_ms": 2},
    "bottleneck": {"rate_mbit": 50, "queue_bytes": 60_000, "delay_ms": 5},
}


class Ends:
    """Bulk hosts: ours behind the relay's right side, Linux on its left, each both server and client."""

    def __init__(self, path: RelayedPair) -> None:
        self.path = path
        self.linux = Host(path.client, "kernel")
        self.ours = Host(path.server, "ours", source_ports=16384)
        for host in (self.linux, self.ours):
            host.ask("serve", port=7)

    def carry(self, client: Host, rules: dict[str, float], **plan: Any) -> None:
        """One plan of a client, over a path of these rules both ways; every octet is right at both ends."""
        server, side = self.ours, self.path.server
        if client is self.ours:
            server, side = self.linux, self.path.client
        self.path.start(rules, rules)
        server.ask("reset")
        plan = {"connections": 1, "up": 0, "down": 0} | plan
        done = client.ask("transfer", address=side.address, port=7, timeout_s=LIMIT_S, **plan)
        assert until(lambda: server.ask("results")["completed"] == plan["connections"], LIMIT_S)
        served = server.ask("results")
        for end, out, into in ((done, "up", "down"), (served, "down", "up")):
            assert end["completed"] == plan["connections"], end
            assert (end["failed"], end["cut_short"], end["mismatched"], end["open"]) == (0, 0, 0, 0), end
            assert end["octets_out"] == plan["connections"] * plan[out]
            assert end["octets_in"] == plan["connections"] * plan[into]


@pytest.fixture(scope="module")
def ends(path: RelayedPair) -> Iterator[Ends]:
    it = Ends(path)
    yield it
    assert it.ours.stop() in (0, -15)
    assert "xdp" not in path.server.run("ip", "link", "show", path.server.interface).stdout


@pytest.fixture(params=["Linux connects", "Underpass connects"])
def client(request: pytest.FixtureRequest, ends: Ends) -> Host:
    """The one that connects, and says how much is sent."""
    return ends.linux if request.param == "Linux connects" else ends.ours


@pytest.mark.parametrize("congestion", ["reno", "cubic", "bbr"])
@pytest.mark.parametrize("rules", PATHS.values(), ids=PATHS)
def test_both_directions_at_once(ends: Ends, client: Host, rules: dict[str, float], congestion: str) -> None:
    if congestion not in AVAILABLE:
        pytest.skip(f"this kernel has no {congestion}")
    ends.linux.ask("choose", congestion=congestion)
    same = [name for name in congestion_names() if name.endswith(congestion)]
    ends.ours.ask("choose", congestion=same[0] if same else "cubic")
    ends.carry(client, rules, up=SIZE, down=SIZE)


@pytest.mark.parametrize("rules", [PATHS["nothing"], PATHS["everything"]], ids=["nothing", "everything"])
def test_a_client_that_ended_its_stream_receives(ends: Ends, client: Host, rules: dict[str, float]) -> None:
    """RFC 9293 3.6: CLOSE means "I have no more data to send"; from FIN-WAIT-2 on the peer still sends."""
    ends.carry(client, rules, up=100_000, down=SIZE, wait=True)


@pytest.mark.parametrize("rules", [PATHS["nothing"], PATHS["everything"]], ids=["nothing", "everything"])
def test_a_server_that_ended_its_stream_receives(ends: Ends, client: Host, rules: dict[str, float]) -> None:
    """RFC 9293 3.6, the other way round."""
    ends.carry(client, rules, up=SIZE, down=1)


def test_ten_thousand_short_connections(ends: Ends, client: Host) -> None:
    ends.carry(client, {}, connections=10_000, at_a_time=50, up=100, down=1000)


def test_short_connections_over_a_bad_path(ends: Ends, client: Host) -> None:
    ends.carry(client, PATHS["everything"], connections=200, at_a_time=100, up=5_000, down=20_000)
