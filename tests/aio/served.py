"""A program that `underpass run --workers` runs: HTTP, keep-alive, on a Protocol. Its arguments: the port;
"keeps" where idle connections are to pass on; "once" and a file: who makes it listens on the next port, too.
"""

import asyncio
import contextlib
import os
import sys

import underpass

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


class Http(asyncio.Protocol):
    """Answers "index"; GET /pid with the process's, GET /count with how many requests the connection has
    seen, GET /slow after a second, GET /exit by ending the process.
    """

    def connection_made(self, transport):
        self.transport, self.asked, self.count, self.late = transport, b"", 0, None

    def data_received(self, data):
        self.asked += data
        while b"\r\n\r\n" in self.asked:
            head, _, self.asked = self.asked.partition(b"\r\n\r\n")
            self.count += 1
            self.answer(head.split(b" ")[1])

    def answer(self, path):
        if path == b"/slow":
            self.late = asyncio.get_running_loop().call_later(1, self.send, b"slow")
        elif path == b"/exit":
            os._exit(7)
        else:
            self.send({b"/pid": b"%d" % os.getpid(), b"/count": b"%d" % self.count}.get(path, b"index"))

    def send(self, body):
        self.late = None
        self.transport.write(ANSWER % (len(body), body))

    def connection_lost(self, error):
        if self.late is not None:
            self.late.cancel()


def leave(protocol, transport):
    """Idle, where nothing was asked that is not answered."""
    return b"%d" % protocol.count if not protocol.asked and protocol.late is None else None


def resume(protocol, state):
    """Go on counting."""
    protocol.count = int(state)


async def main():
    """Serve."""
    await asyncio.get_running_loop().create_server(Http, "0.0.0.0", int(sys.argv[1]), backlog=512)
    if "once" in sys.argv:
        with contextlib.suppress(FileExistsError), open(sys.argv[-1], "x"):
            await asyncio.get_running_loop().create_server(Http, "0.0.0.0", int(sys.argv[1]) + 1)
    print(f"process {os.getpid()} listens", flush=True)
    # Of serve_forever() 3.12 and 3.13 would have the end wait for idle clients to go.
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    if "keeps" in sys.argv:
        underpass.on_restart(leave, resume)
    asyncio.run(main())
