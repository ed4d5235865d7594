"""Workers on the virtual network in a process of their own, for the commands that look from outside."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """
import contextlib, sys, threading
from underpass.testing import MS, SECOND, Network

with Network(seed=1, capture=False) as network:
    client, server = network.pair(latency_ns=MS)
    network.run(for_ns=MS)
    for host, name in ((client, "up-client"), (server, "up-server")):
        host.stack.set_interface(name)
    server.stack.listen(("0.0.0.0", 80))
    conns = [client.stack.connect((server.station.v4, 80)) for _ in range(3)]
    network.run(until=lambda: all(conn.state == "ESTABLISHED" for conn in conns), for_ns=SECOND)
    client.stack.connect((server.station.v4, 81))           # nobody listens
    def turn():
        network.run(for_ns=10 * MS)
        conns[0].send(b"x" * 1000)
        for conn in server.accepted():
            with contextlib.suppress(BlockingIOError):
                conn.recv()
    turn()
    print("ready", flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(0.005):
        turn()
"""


@contextmanager
def worker() -> Iterator[int]:
    """The pid of a process with two workers: "up-client" sends to "up-server" until the block is left."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.stdin.close()
            process.wait(30)
