"""Bulk hosts to command: one end of a path, with the kernel's TCP or with ours.

    server = Host(pair.server, "ours", congestion="cubic")
    server.ask("serve", port=7)
    client = Host(pair.client, "kernel")
    print(client.ask("transfer", address=pair.server.address, port=7, down=10**6, timeout_s=10))
"""

import json
import subprocess
import sys
from typing import Any, TypedDict

from underpass.linux.namespaces import CommandError, Namespace

KINDS = ("ours", "kernel")


class Options(TypedDict, total=False):
    """What a host is started with."""

    congestion: str
    buffer_bytes: int           # for sending and for receiving, each
    verify: bool                # compare every octet
    source_ports: int           # ours: reserved for connections that it opens
    limits: dict[str, int]      # ours: limits of the stack


DEFAULTS: Options = {"congestion": "cubic", "buffer_bytes": 4 << 20, "verify": True, "source_ports": 0,
                     "limits": {}}


class Host:
    """A process of one of KINDS in a namespace; it ends with the namespace, or with stop()."""

    def __init__(self, where: Namespace, kind: str, core: int | None = None, **options: Any) -> None:
        if kind not in KINDS:
            raise ValueError(f"a host is one of {', '.join(KINDS)}, not {kind!r}")
        self.where = where
        self.kind = kind
        self.process = where.start(
            sys.executable, "-m", f"underpass.apps.bulk.{kind}", where.interface,
            json.dumps(DEFAULTS | options), core=core, output=subprocess.PIPE, stdin=subprocess.PIPE)
        self._answer()

    def tell(self, command: str, **arguments: Any) -> None:
        """Give a command without waiting for its answer, which `hear` gives."""
        assert self.process.stdin is not None
        print(json.dumps({command: arguments}), file=self.process.stdin, flush=True)

    def hear(self) -> dict[str, Any]:
        """The answer to the last command."""
        return self._answer()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for the answer. Raises CommandError where the host ended instead."""
        self.tell(command, **arguments)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            said = (line + self.process.stdout.read()).strip().splitlines() or ["it said nothing"]
            raise CommandError(f"the host of {self.where.name} ended: {said[-1]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> int:
        """End it; returns its status."""
        return self.where.stop(self.process)
