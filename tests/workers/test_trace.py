"""`underpass trace` beside several workers without privileges: the one that has the connection tells."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

from tests.workers.test_supervisor import Workers, asks, served

__all__ = ["served"]


def tracing(*words: str) -> "subprocess.Popen[str]":
    """A trace that has begun to wait."""
    process = subprocess.Popen([sys.executable, "-m", "underpass.cli", "trace", "--json", *words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stderr.readline().startswith("following")
    return process


def ends_of(client: socket.socket) -> str:
    return "{}:{}".format(*client.getsockname())


def test_the_worker_that_has_the_connection_tells(served: Workers) -> None:
    told = set()
    for client in served.one_for_each().values():
        with tracing("-i", served.pair.server.interface, ends_of(client)) as trace:
            try:
                assert asks(client)
                client.close()
                out, said = trace.communicate(timeout=20)
            finally:
                trace.kill()
        rows = [json.loads(line) for line in out.splitlines()]
        assert rows[0]["state"] == "ESTABLISHED" and rows[-1]["event"] == "ended", said
        (pid,) = {row["pid"] for row in rows}
        told.add(pid)
    assert told == set(served.running())


def test_it_ends_with_the_process_where_the_connection_goes_on_in_another(served: Workers) -> None:
    client = next(iter(served.one_for_each().values()))
    with tracing("-i", served.pair.server.interface, ends_of(client)) as trace:
        try:
            assert asks(client)
            assert trace.stdout is not None
            pid = json.loads(trace.stdout.readline())["pid"]
            os.kill(served.process.pid, signal.SIGHUP)
            _, said = trace.communicate(timeout=30)
        finally:
            trace.kill()
    assert trace.returncode == 0 and re.search(rf"worker {pid} on \S+ ended", said), said
    assert asks(client)
