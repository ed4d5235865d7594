"""Streams whose every octet is known, and transfers that check them as they arrive."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from underpass.stack.sockets import Connection


def stream(seed: int, octets: int) -> bytes:
    """Octets that hang on the seed; no stretch of them stands in another place or another stream."""
    return random.Random(seed).randbytes(octets)


@dataclass
class Transfer:
    """One end of a connection: sends `outgoing`, then half-closes; checks that `incoming` and the end arrive.

    `read` and `write` limit the octets of one call, to exercise windows and partial segments.
    """

    outgoing: bytes
    incoming: bytes
    read: int = 65536
    write: int = 65536
    conn: Connection | None = None
    sent: int = 0
    received: int = 0
    shut: bool = False
    at_end: bool = False
    errors: list[OSError] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether both streams went through whole, or an error ended them."""
        return bool(self.errors) or (self.shut and self.at_end)

    def on_ready(self, conn: Connection, ready: int) -> None:
        """Serve an event of `Stack.events` or `Stack.poll`, whatever it is."""
        self.conn = conn
        if self.done:
            return
        for stream_step in (self._receive, self._send):
            try:
                stream_step(conn)
            except BlockingIOError:
                continue
            except OSError as error:
                self.errors.append(error)
                break
        if self.done:
            conn.close()

    def _receive(self, conn: Connection) -> None:
        while not self.at_end and (octets := conn.recv(self.read)):
            expected = self.incoming[self.received : self.received + len(octets)]
            if octets != expected:
                at = next(i for i, octet in enumerate(octets) if expected[i : i + 1] != bytes([octet]))
                raise AssertionError(f"octet {self.received + at} of {len(self.incoming)} is wrong")
            self.received += len(octets)
        if self.received < len(self.incoming):
            raise AssertionError(f"the stream ends after {self.received} of {len(self.incoming)} octets")
        self.at_end = True

    def _send(self, conn: Connection) -> None:
        while self.sent < len(self.outgoing):
            self.sent += conn.send(self.outgoing[self.sent : self.sent + self.write])
        if not self.shut:
            conn.shutdown()
            self.shut = True
