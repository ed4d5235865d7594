"""Client, relay and server, each in a namespace of its own: two hosts and a path between them of choice.

    client0 ---- left [relay process] right ---- server0

    with RelayedPair() as pair:
        pair.start({"delay_ms": 10, "lose": 0.01}, {"delay_ms": 10})
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from underpass.linux.namespaces import CommandError, Pair, join, run, side

BACKLOG = 4000          # packets that wait at a sender's interface, instead of being lost on veth's ring


class RelayedPair(Pair):
    """A `Pair` whose two ends are joined by a relay. `core`: where the relay runs; None: anywhere.

    The offloads of both ends are off, so that each packet on the path is one segment with its checksum.
    """

    def __init__(self, core: int | None = None, queues: int = 1) -> None:
        super().__init__(queues=queues)
        self.core = core
        self.relay = side("relay", self.client.interface.replace("uc", "ul"), 3)
        self.right = self.client.interface.replace("uc", "ur")
        self.namespaces.append(self.relay)
        self.process: subprocess.Popen[str] | None = None

    def _join(self) -> None:
        left, right = self.relay.interface, self.right
        join(self.client, self.client.interface, self.relay, left, self.queues)
        join(self.server, self.server.interface, self.relay, right, self.queues)
        for interface in (left, right):
            self.relay.write(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", 1)
            self.relay.run("ip", "link", "set", interface, "arp", "off", "up")
        for end in (self.client, self.server):
            end.offload(tx=False, gso=False, gro=False)
            end.run("tc", "qdisc", "add", "dev", end.interface, "root", "pfifo", "limit", str(BACKLOG))
        self._start_process(left, right)

    def _start_process(self, left: str, right: str) -> None:
        self.process = self.relay.start(sys.executable, "-m", "underpass.apps.relay.process", left, right,
                                        core=self.core, output=subprocess.PIPE, stdin=subprocess.PIPE)
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            said = (line + self.process.stdout.read()).strip().splitlines() or ["it said nothing"]
            raise CommandError(f"the relay ended: {said[-1]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process is not None and self.process.stdin is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self._answer()

    def start(self, rightward: Mapping[str, float], leftward: Mapping[str, float], seed: int = 1) -> None:
        """Begin anew under these rules (see `Relay`): `rightward` is what the client sends."""
        self._ask({"start": {"rightward": dict(rightward), "leftward": dict(leftward), "seed": seed}})

    def stats(self) -> dict[str, dict[str, float]]:
        """What the relay counted since `start`: "rightward", "leftward", and each interface's own losses."""
        return self._ask({"stats": {}})

    def unintended(self) -> int:
        """Packets that were lost and not by rule: a ring that was full, a queue that overran."""
        stats = self.stats()
        rings = sum(int(stats[name][kind]) for name in (self.relay.interface, self.right)
                    for kind in ("rx_dropped", "rx_ring_full", "rx_fill_ring_empty_descs"))
        return rings + sum(int(stats[way]["overrun"]) for way in ("rightward", "leftward"))


def ping_ms(pair: RelayedPair) -> float:
    """The path's round-trip time by ping: the least of three."""
    said = run(*pair.client.command("ping", "-c", "3", "-i", "0.05", "-W", "2", pair.server.address)).stdout
    return float(said.rsplit("=", 1)[1].split("/")[0])
