"""The relay as a process of its own: `python -m underpass.apps.relay.process LEFT RIGHT`, two interfaces.

It takes commands as JSON, one a line, and answers each with a line: {"start": {"rightward": RULES,
"leftward": RULES, "seed": N}}, answered by {}, and {"stats": {}}, answered by the counters since then.
"""

import json
import sys
from contextlib import ExitStack, closing
from typing import Any

from underpass.apps.relay.redirect import RedirectAll
from underpass.apps.relay.relay import Relay
from underpass.link.afxdp import AfXdpLink, chunk_bytes_for
from underpass.link.frames import Frames
from underpass.linux.netdev_features import netdev_features

FRAMES = 65536
RING = 8192             # a sender's whole window may come while the relay does not run


def answer(relay: Relay, links: dict[str, AfXdpLink], command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one command."""
    if "start" in command:
        relay.start(**command["start"])
        return {}
    if "stats" in command:
        return relay.stats() | {name: link.kernel_stats() for name, link in links.items()}
    raise ValueError(f"no such command: {', '.join(command)}")


def serve(left: str, right: str) -> None:
    """Relay between two interfaces until the end of stdin."""
    with ExitStack() as undo:
        frames = Frames(FRAMES, chunk_bytes_for(1500))
        links = []
        for interface in (left, right):
            netdev = netdev_features(interface)
            program = undo.enter_context(closing(RedirectAll(netdev.index)))
            links.append(undo.enter_context(closing(AfXdpLink(
                frames, netdev, program=program, checksum=False, ring_size=RING))))
        relay = undo.enter_context(closing(Relay(*links)))
        by_name = dict(zip((left, right), links, strict=True))
        print("{}", flush=True)
        while True:
            if relay.run(60, (0,)):
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(answer(relay, by_name, json.loads(line))), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
