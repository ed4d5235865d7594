"""An application on the stack that takes octets, hashes them and gives others, and the client's side of it.

A client begins with HEADER: how many octets it will send (UNTIL_END: until it ends its stream), how many it
wants, and whether these come FIRST, with the end of our stream, or after its own. The digest of what
it sent comes before what it wants, or, with FIRST, as a line on standard output.

Usage, as root: python exchange.py INTERFACE ADDRESS...
"""

import contextlib
import hashlib
import json
import random
import socket
import struct
import sys

HEADER = struct.Struct("!QQ?")
UNTIL_END = 2**64 - 1
PORT = 7
DIGEST_BYTES = 32
PIECE = memoryview(random.Random(793).randbytes(1_000_003))      # its period is that of no buffer


def piece(at: int, end: int) -> memoryview:
    """The octets that stand at `at` of what is exchanged, as many as are at hand."""
    start = at % len(PIECE)
    return PIECE[start:start + end - at]


def digest(size: int) -> bytes:
    """The hash of the first `size` octets that are exchanged."""
    sha = hashlib.sha256()
    at = 0
    while at < size:
        sha.update(piece(at, size))
        at += len(piece(at, size))
    return sha.digest()


class Exchange:
    """One connection of the application."""

    def __init__(self, conn) -> None:
        self.conn = conn
        self.head = b""
        self.left = self.size = self.sent = 0
        self.first = self.taken = self.ended = False
        self.sha = hashlib.sha256()
        self.reply = b""
        self.buffer = memoryview(bytearray(1 << 20))

    def serve(self) -> None:
        """Go on as far as there are octets and room."""
        for work in (self.take, self.give):
            with contextlib.suppress(BlockingIOError):
                work()

    def take(self) -> None:
        while not self.taken:
            if len(self.head) < HEADER.size:
                self.take_head()
            elif self.left:
                self.take_octets()
            else:
                self.all_taken()

    def take_head(self) -> None:
        self.head += self.conn.recv(HEADER.size - len(self.head))
        if len(self.head) == HEADER.size:
            self.left, self.size, self.first = HEADER.unpack(self.head)

    def take_octets(self) -> None:
        count = self.conn.recv_into(self.buffer[:min(self.left, len(self.buffer))])
        self.sha.update(self.buffer[:count])
        self.left = self.left - count if count else 0

    def all_taken(self) -> None:
        self.taken = True
        if self.first:
            print(self.sha.hexdigest(), flush=True)
            self.conn.close()
        else:
            self.reply = self.sha.digest()

    def give(self) -> None:
        if self.ended or len(self.head) < HEADER.size or not (self.first or self.taken):
            return
        while self.reply:
            self.reply = self.reply[self.conn.send(self.reply):]
        while self.sent < self.size:
            self.sent += self.conn.send(piece(self.sent, self.size))
        self.ended = True
        if not self.taken:
            self.conn.shutdown()
        elif not self.first:
            self.conn.close()


def upload(client: socket.socket, size: int) -> None:
    """Send the first `size` octets."""
    at = 0
    while at < size:
        at += client.send(piece(at, size))


def download(client: socket.socket) -> tuple[int, bytes]:
    """Count and hash of what comes until the stream's end."""
    sha = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    size = 0
    while count := client.recv_into(buffer):
        sha.update(buffer[:count])
        size += count
    return size, sha.digest()


def receive_exactly(client: socket.socket, size: int) -> bytes:
    """That many octets, or those that came before the end."""
    received = b""
    while len(received) < size and (more := client.recv(size - len(received))):
        received += more
    return received


def main(interface: str, *addresses: str) -> None:
    """Serve until killed; the first line says which path is active."""
    import underpass

    with underpass.attach(interface) as nic:
        stack = nic.stack()
        for address in addresses:
            stack.listen((address, PORT))
        print(json.dumps(nic.describe()), flush=True)
        while True:
            for conn, ready in stack.poll(1.0):
                if conn.data is None:
                    conn.data = Exchange(conn)
                try:
                    conn.data.serve()
                except OSError as error:
                    if not ready & underpass.CLOSED:
                        print(error, flush=True)
                    conn.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
