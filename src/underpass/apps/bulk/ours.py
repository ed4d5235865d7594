"""The bulk application on the user-space stack, as a process that takes commands: see `host`.

Usage: python -m underpass.apps.bulk.ours INTERFACE OPTIONS, the options as JSON: see `host.Options`
"""

import json
import sys
import time
from typing import Any

import underpass
from underpass.apps.bulk.bulk import Bulk
from underpass.apps.bulk.commands import carry_out
from underpass.nic import Nic

FRAMES = 65536
FRAME_OCTETS = 1024             # of payload, as a frame of the send queue is reckoned


class Ours:
    """Commands by name; each takes keyword arguments and returns what JSON can say."""

    def __init__(self, nic: Nic, options: dict[str, Any]) -> None:
        buffer = int(options["buffer_bytes"])
        self.nic = nic
        frames = buffer // FRAME_OCTETS
        # As SO_RCVBUF and SO_SNDBUF do it: the whole size from the start.
        self.stack = nic.stack(**{"connections": 16384, "rcv_bytes": buffer, "rcv_initial_bytes": buffer,
                                  "snd_frames": frames, "snd_initial_frames": frames,
                                  "ooo_frames": frames} | options["limits"])
        self.bulk = Bulk(self.stack, options["congestion"], options["verify"])

    def choose(self, congestion: str) -> dict[str, Any]:
        """The congestion control of connections from now on."""
        self.bulk.choose(congestion)
        return {}

    def serve(self, port: int) -> dict[str, Any]:
        """Listen, for both families."""
        for address in ("", "::"):
            self.nic.stack().claim((address, port))
            self.bulk.listen(address, port)
        return {"path": self.nic.summary()[0]}

    def transfer(self, timeout_s: float, **plan: Any) -> dict[str, Any]:
        """Be a client: see `Bulk.connect`."""
        end = time.monotonic() + timeout_s
        self.bulk.connect(**plan)
        while not self.bulk.over and time.monotonic() < end:
            self.stack.run(min(1.0, end - time.monotonic()))
        return self.bulk.results()

    def results(self) -> dict[str, Any]:
        """What was served and counted since the last reset."""
        return self.bulk.results() | {"tcp": self.stack.stats()["tcp"]}

    def reset(self) -> dict[str, Any]:
        """Count anew."""
        self.bulk.reset()
        return {}

    def connections(self) -> dict[str, Any]:
        """All connections, as `underpass ss` shows them."""
        return {"rows": self.stack.connections()}


def main(interface: str, options: str) -> None:
    """Carry out commands until the end of stdin."""
    given = json.loads(options)
    with underpass.attach(interface, frames=FRAMES, source_ports=int(given["source_ports"])) as nic:
        host = Ours(nic, given)
        carry_out(host, lambda: host.stack.run(60, (0,)))


if __name__ == "__main__":
    main(*sys.argv[1:])
