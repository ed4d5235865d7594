"""Captures of running workers: found, started, and read until they end."""

import base64
import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from underpass.linux.control_socket import ControlClient, control_sockets
from underpass.observe.spool_reader import SpoolReader

LOOK_S = 0.01                   # how long to sleep where there is nothing to read
ROUND_BYTES = 1 << 20
RING_BYTES = 1 << 24


@dataclass
class Capture:
    """What one worker writes for us. `ended`: it has closed the connection; `stopped`: we have."""

    pid: int
    interface: str
    client: ControlClient
    reader: SpoolReader
    ended: bool = False
    stopped: bool = False

    @property
    def over(self) -> bool:
        """Nothing more will come than what is in the ring."""
        return self.ended or self.stopped


def start(undo: ExitStack, program: bytes, *, snaplen: int, refused_only: bool, pid: int | None = None,
          interface: str | None = None) -> list[Capture]:
    """Have every worker that is meant copy its packets, until `undo` closes.

    In the packets an interface's number is its capture's place. Raises OSError for what a worker refuses.
    """
    captures: list[Capture] = []
    for client in clients(undo, pid, interface):
        answer, (memfd, *_) = client.ask(
            "capture", program=base64.b64encode(program).decode(), snaplen=snaplen, refused_only=refused_only,
            interface=len(captures), epoch_ns=time.time_ns() - time.monotonic_ns(), ring_bytes=RING_BYTES)
        try:
            reader = SpoolReader(memfd)
        finally:
            os.close(memfd)
        captures.append(Capture(int(answer["pid"]), str(answer["interface"]), client, reader))
    return captures


def clients(undo: ExitStack, pid: int | None, interface: str | None) -> Iterator[ControlClient]:
    """Connections to the workers that are meant; one that ends meanwhile is left out."""
    for _, path in control_sockets(pid):
        try:
            client = ControlClient(path)
        except OSError:
            continue
        undo.callback(client.close)
        if interface in (None, client.ask("worker")[0]["interface"]):
            yield client


def read(captures: list[Capture], most_packets: int) -> Iterator[tuple[bytes, int]]:
    """One round: the blocks that are there, with how many packets they are; sleeps where there are none."""
    idle = True
    for it in captures:
        octets, packets = it.reader.read(ROUND_BYTES, most_packets)
        if packets:
            idle = False
            most_packets -= packets
            yield octets, packets
    if idle:
        wait(captures)


def stop(captures: list[Capture]) -> None:
    """Have the workers stop, which they do when they next look. May be called more than once."""
    for it in captures:
        if not it.over:
            it.stopped = True
            it.client.close()


def wait(captures: list[Capture]) -> None:
    """A worker that ends closes its connection; what it wrote before is read once more."""
    poll = select.poll()
    for it in captures:
        if not it.over:
            poll.register(it.client.peer, select.POLLIN)
    ended = {number for number, _ in poll.poll(LOOK_S * 1000)}
    for it in captures:
        it.ended = it.ended or (not it.stopped and it.client.peer.fileno() in ended)
