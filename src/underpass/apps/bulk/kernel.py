"""The bulk application over the kernel's sockets, as a process that takes commands: see `host`.

Usage: python -m underpass.apps.bulk.kernel INTERFACE OPTIONS, the options as JSON: see `host.Options`
"""

import contextlib
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections import Counter
from typing import Any

from underpass.apps.bulk import bulk
from underpass.apps.bulk.commands import carry_out
from underpass.apps.bulk.tcp_info import tcp_info

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
KEPT = ("total_retrans", "segs_out", "data_segs_out", "dsack_dups", "bytes_retrans", "segs_in")
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Flow:
    """One connection: what it has yet to give and to take."""

    def __init__(self, sock: socket.socket, serves: bool, up: int = 0, down: int = 0,
                 wait: bool = False) -> None:
        self.sock = sock
        self.serves = serves
        self.give, self.take = up, down
        self.given = self.taken = 0
        self.waits = False
        self.head = b"" if serves else bulk.head(up, down, wait)
        self.head_left = bulk.HEAD_BYTES
        self.ended = self.at_end = False

    @property
    def interest(self) -> int:
        """What to wait for."""
        told = not self.serves or not self.head_left
        may_give = told and not self.ended and (self.at_end or not self.waits)
        return (0 if self.at_end else READ) | (WRITE if may_give else 0)

    @property
    def over(self) -> bool:
        """Whether both streams have their end."""
        return self.at_end and self.ended

    def take_in(self, into: memoryview, verify: bool) -> int:
        """Receive once; how many octets of the stream were wrong in some place: 0 or 1."""
        if self.serves and self.head_left:
            self._take_head()
            return 0
        count = self.sock.recv_into(into)
        self.at_end = count == 0
        wrong = verify and not bulk.matches(into[:count], self.taken, not self.serves)
        self.taken += count
        return int(wrong)

    def _take_head(self) -> None:
        self.head += self.sock.recv(self.head_left)
        self.head_left = bulk.HEAD_BYTES - len(self.head)
        if not self.head_left:
            self.take, self.give, flags = struct.unpack("!QQB", self.head)
            self.waits = bool(flags)

    def give_out(self) -> None:
        """Send as far as there is room, then the end."""
        while not self.serves and self.head_left:
            self.head_left -= self.sock.send(self.head[-self.head_left:])
        while self.given < self.give:
            octets = bulk.piece(self.given, self.serves)
            self.given += self.sock.send(octets[:self.give - self.given])
        self.sock.shutdown(socket.SHUT_WR)
        self.ended = True


class Kernel:
    """Commands by name; each takes keyword arguments and returns what JSON can say."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.selector = selectors.DefaultSelector()
        self.buffer = memoryview(bytearray(bulk.MIB))
        self.open = 0
        self.reset()

    def reset(self) -> dict[str, Any]:
        """Count anew."""
        self.counts: Counter[str] = Counter()
        self.info: Counter[str] = Counter()
        self.error = ""
        self.last = 0.0
        return {}

    # sockets

    def prepare(self, sock: socket.socket) -> None:
        """Congestion control and buffers, before the handshake: they decide its options."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.options["congestion"].encode())
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, self.options["buffer_bytes"])
        # Twice that is set aside, of which more than a half may be window: no larger one than ours.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, self.options["buffer_bytes"])

    def choose(self, congestion: str) -> dict[str, Any]:
        """The congestion control of connections from now on, those accepted by open listeners too."""
        self.options["congestion"] = congestion
        for key in self.selector.get_map().values():
            if key.data == "listener":
                self.prepare(key.fileobj)       # type: ignore[arg-type]
        return {}

    def serve(self, port: int) -> dict[str, Any]:
        """Listen, for both families."""
        sock = socket.socket(socket.AF_INET6)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.prepare(sock)
        sock.bind(("::", port))
        sock.listen(4096)
        sock.setblocking(False)
        self.selector.register(sock, READ, "listener")
        return {"path": "kernel TCP"}

    def accept(self, listener: socket.socket) -> None:
        """Take all that wait."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.begin(Flow(listener.accept()[0], serves=True))

    def begin(self, flow: Flow) -> None:
        """A connection is there, or on its way."""
        flow.sock.setblocking(False)
        self.open += 1
        self.selector.register(flow.sock, flow.interest, flow)

    def connect(self, address: str, port: int, **plan: Any) -> None:
        """Open one."""
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.prepare(sock)
        sock.setblocking(False)
        sock.connect_ex((address, port))
        self.begin(Flow(sock, serves=False, **plan))

    # flows

    def go_on(self, flow: Flow, ready: int) -> None:
        """Do what can be done now."""
        before = flow.interest
        try:
            with contextlib.suppress(BlockingIOError):
                if ready & READ:
                    wrong = flow.take_in(self.buffer, self.options["verify"])
                    self.counts["mismatched"] += wrong
            with contextlib.suppress(BlockingIOError):
                if flow.interest & WRITE and (ready & WRITE or not before & WRITE):
                    flow.give_out()
        except OSError as error:
            self.error = os.strerror(error.errno or 0)
            self.counts["failed"] += 1
            self.end(flow)
            return
        if flow.over:
            self.counts["completed"] += 1
            self.counts["cut_short"] += flow.taken != flow.take
            self.end(flow)
        elif flow.interest != before:
            self.selector.modify(flow.sock, flow.interest, flow)

    def end(self, flow: Flow) -> None:
        """Note what became of it, and close."""
        found = tcp_info(flow.sock)
        self.info.update({name: found[name] for name in KEPT})
        self.counts["octets_in"] += flow.taken
        self.counts["octets_out"] += flow.given
        self.last = time.monotonic()
        self.selector.unregister(flow.sock)
        flow.sock.close()
        self.open -= 1

    def turn(self, timeout_s: float) -> bool:
        """Wait, and go on with what is ready; whether a command waits."""
        commanded = False
        for key, ready in self.selector.select(timeout_s):
            if key.data == "listener":
                self.accept(key.fileobj)        # type: ignore[arg-type]
            elif key.data == "commands":
                commanded = True
            else:
                self.go_on(key.data, ready)
        return commanded

    # commands

    def transfer(self, timeout_s: float, address: str, port: int, connections: int = 1, at_a_time: int = 1,
                 **plan: Any) -> dict[str, Any]:
        """Be a client: see `Bulk.connect`. After `timeout_s` the connections that are left are reset."""
        self.reset()
        start = time.monotonic()
        opened = 0
        while self.counts["completed"] + self.counts["failed"] < connections:
            while opened < connections and self.open < at_a_time:
                self.connect(address, port, **plan)
                opened += 1
            if time.monotonic() > start + timeout_s:
                self.give_up()
                break
            self.turn(min(1.0, timeout_s))
        return self.results() | {"seconds": self.last - start}

    def give_up(self) -> None:
        """Reset what is still open."""
        for key in list(self.selector.get_map().values()):
            if isinstance(key.data, Flow):
                key.data.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.end(key.data)

    def results(self) -> dict[str, Any]:
        """Counts since the last reset, and sums of the ended connections' TCP_INFO."""
        names = ("completed", "failed", "cut_short", "mismatched", "octets_in", "octets_out")
        return {name: self.counts[name] for name in names} | {
            "open": self.open, "error": self.error, "info": dict(self.info)}


def main(_interface: str, options: str) -> None:
    """Carry out commands until the end of stdin."""
    host = Kernel(json.loads(options))
    host.selector.register(sys.stdin, READ, "commands")
    carry_out(host, lambda: host.turn(60))


if __name__ == "__main__":
    main(*sys.argv[1:])
