"""A supervisor for the tests, and an application that opens connections.

    python -m tests.workers.outgoing INTERFACE '{"workers": 2, "source_ports": 1024, "address": ..., ...}'

"spread" names a file with what the device is to say of its RSS, which veth has none of: key (as hex) and
table. It is read again at each of the supervisor's looks.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from underpass.linux.rss import Queues, Spread
from underpass.stack.sockets import Connection
from underpass.stack.stack import CLOSED, CONNECTED, READABLE
from underpass.workers import Supervisor, WorkerPlan
from underpass.workers import supervisor as workers_supervisor
from underpass.workers.stack import WorkerStack

ASKS_A_TICK = 64


class Caller:
    """Opens `connections` connections from each worker, sends a line on each, and reads what comes back until
    the whole answer is there.
    """

    layout = "of the tests"
    memory = -1                         # nobody can go on with what Python has open

    def __init__(self, stack: WorkerStack, address: str, port: int, connections: int,
                 memory: int) -> None:
        self._stack, self._peer, self._left = stack, (address, port), connections
        self._open: dict[Connection, bytes] = {}
        self.done = self.failed = 0

    @property
    def open(self) -> int:
        return len(self._open)

    def listen(self) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Called between turns, once a second."""
        while self._left and len(self._open) < ASKS_A_TICK:
            self._left -= 1
            self._open[self._stack.connect(self._peer)] = b""
        self._serve()

    def _serve(self) -> None:
        for _ in range(200):
            for conn, events in self._stack.poll(0.005):
                self._happened(conn, events)

    def _happened(self, conn: Connection, events: int) -> None:
        if events & CONNECTED:
            conn.send(b"hello\n")
        try:
            if events & READABLE:
                self._open[conn] += conn.recv()
        except OSError:
            self.failed += 1
        if events & CLOSED or self._open[conn] == b"HELLO\n":
            answered = self._open.pop(conn) == b"HELLO\n"
            self.done += answered
            self.failed += not answered
            conn.close()

    def drain(self) -> None:
        self._left = 0

    def suspend(self) -> None:
        raise NotImplementedError("the tests start nothing anew")

    def take_up(self) -> dict[str, int]:
        raise NotImplementedError("the tests start nothing anew")

    def stats(self) -> dict[str, dict[str, int]]:
        return {"caller": {"done": self.done, "failed": self.failed}} | self._stack.stats()


def spread_as_in(path: str) -> Callable[[str, int], Queues]:
    """Stands for what the kernel says of a device with two queues."""
    def said(_name: str, _index: int) -> Queues:
        it = json.loads(Path(path).read_text())
        return Queues(2, Spread(bytes.fromhex(it["key"]), tuple(it["table"]), v4=True, v6=True))

    return said


def main() -> None:
    """Supervise callers until SIGTERM, then print the counters of all as one line."""
    interface, arguments = sys.argv[1], json.loads(sys.argv[2])
    if "spread" in arguments:
        workers_supervisor.queues = spread_as_in(arguments.pop("spread"))
    workers, ports = arguments.pop("workers"), arguments.pop("source_ports")
    plan: dict[str, Any] = {"claims": [], "source_ports": ports, "limits": {"connections": 4096}}
    with Supervisor(interface, WorkerPlan("tests.workers.outgoing:Caller", arguments, **plan),
                    workers=workers) as supervisor:
        supervisor.wait_ready()
        print("ready", supervisor.ports and (supervisor.ports.first, supervisor.ports.last), flush=True)
        print(json.dumps(supervisor.run()), flush=True)


if __name__ == "__main__":
    main()
