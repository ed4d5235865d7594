"""One connection's life, followed: the workers are asked, and whichever has the connection tells."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from underpass.observe.capture import ROUND_BYTES, Capture, clients, stop, wait
from underpass.observe.spool_reader import SpoolReader
from underpass.observe.trace_records import trace_records

RING_BYTES = 1 << 22

Row = dict[str, Any]


def start(undo: ExitStack, remote: str | None, remote_port: int, local_port: int, *, pid: int | None = None,
          interface: str | None = None) -> list[Capture]:
    """Have every worker that is meant wait for such a connection, until `undo` closes: see Stack.trace_start.

    Raises OSError for what a worker refuses.
    """
    traces: list[Capture] = []
    for client in clients(undo, pid, interface):
        answer, (memfd, *_) = client.ask("trace", remote=remote, remote_port=remote_port,
                                         local_port=local_port, ring_bytes=RING_BYTES)
        try:
            reader = SpoolReader(memfd, "trace")
        finally:
            os.close(memfd)
        traces.append(Capture(int(answer["pid"]), str(answer["interface"]), client, reader))
    return traces


def rows(traces: list[Capture]) -> Iterator[Row]:
    """One round: what has come; the first worker that tells of a connection is the one, the others are let
    go. Sleeps where nothing has come.

    Each row has the worker's `pid` and `interface`, the wall clock's `time_ns`, and what trace_records
    says.
    """
    epoch_ns = time.time_ns() - time.monotonic_ns()
    for it in traces:
        octets, records = it.reader.read(ROUND_BYTES)
        if records:
            stop([other for other in traces if other is not it])
            traces[:] = [it]
            for row in trace_records(octets):
                yield {"pid": it.pid, "interface": it.interface, "time_ns": row["at_ns"] + epoch_ns} | row
            return
    wait(traces)
