"""The Python servers that `underpass bench asyncio` compares: each the same program on one of three loops,
ours by native XDP or by what it takes itself.

Usage: python -m underpass.apps.bench.python_programs PROGRAM LOOP INTERFACE ADDRESS PORT [CERTIFICATE]
"""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

BODY = b"x" * 63 + b"\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n"
HELLO = HEAD % len(BODY) + BODY
LARGE = 100_000_000
BLOCK = bytes(1 << 18)
NATIVE = "underpass-native"


class Hello(asyncio.Protocol):
    """Answers each request head with 64 octets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write                    # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.write(HELLO * data.count(b"\r\n\r\n"))


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write                    # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.write(data)


class Bulk(asyncio.Protocol):
    """Sends LARGE octets to who asks for them, and takes in what is uploaded."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.left: int | None = None
        self.to_send = 0

    def data_received(self, data: bytes) -> None:
        if self.left is None:
            if data.startswith(b"GET /hello"):
                self.transport.write(HELLO)             # type: ignore[attr-defined]
                return
            if data.startswith(b"GET"):
                self.transport.write(HEAD % LARGE)      # type: ignore[attr-defined]
                self.to_send = LARGE
                self.writable = True
                self.send()
                return
            head, _, data = data.partition(b"\r\n\r\n")
            self.left = int(head.lower().split(b"content-length:")[1].split()[0])
        self.left -= len(data)
        if self.left <= 0:
            self.transport.write(HELLO)                 # type: ignore[attr-defined]
            self.left = None

    def send(self) -> None:
        while self.to_send and self.writable:
            count = min(self.to_send, len(BLOCK))
            self.to_send -= count
            self.transport.write(memoryview(BLOCK)[:count] if count < len(BLOCK) else BLOCK)    # type: ignore[attr-defined]

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self.send()


async def protocol(kind: type[asyncio.Protocol], address: str, port: int, tls: Any = None) -> None:
    """Serve by a Protocol."""
    server = await asyncio.get_running_loop().create_server(kind, address, port, ssl=tls, backlog=1024)
    await server.serve_forever()


async def hello(address: str, port: int, _certificate: str) -> None:
    """64 octets over HTTP."""
    await protocol(Hello, address, port)


async def echo(address: str, port: int, _certificate: str) -> None:
    """An echo server on Protocol."""
    await protocol(Echo, address, port)


async def bulk(address: str, port: int, _certificate: str) -> None:
    """Large transfers."""
    await protocol(Bulk, address, port)


async def tls(address: str, port: int, certificate: str) -> None:
    """64 octets over HTTPS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await protocol(Hello, address, port, context)


async def streams(address: str, port: int, _certificate: str) -> None:
    """An echo server on streams."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, address, port, backlog=1024)
    await server.serve_forever()


async def uvicorn(address: str, port: int, _certificate: str) -> None:
    """An ASGI application under uvicorn with httptools."""
    import uvicorn as served

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"64")]})
        await send({"type": "http.response.body", "body": BODY})

    config = served.Config(application, host=address, port=port, http="httptools", log_level="warning",
                           access_log=False, lifespan="off", backlog=1024)
    await served.Server(config).serve()


async def aiohttp(address: str, port: int, _certificate: str) -> None:
    """aiohttp's server."""
    from aiohttp import web

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=BODY, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/{name}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port, backlog=1024).start()
    await asyncio.Event().wait()


async def websockets(address: str, port: int, _certificate: str) -> None:
    """A websocket echo server."""
    from websockets.asyncio.server import serve

    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(handler, address, port, backlog=1024, compression=None, ping_interval=None,
                     open_timeout=60):
        await asyncio.Event().wait()


PROGRAMS: dict[str, Callable[[str, int, str], Awaitable[None]]] = {
    it.__name__: it for it in (hello, echo, streams, bulk, tls, uvicorn, aiohttp, websockets)}


def loop_of(kind: str, interface: str) -> asyncio.AbstractEventLoop:
    """asyncio's own loop, uvloop's, or ours."""
    if kind == "asyncio":
        return asyncio.SelectorEventLoop()
    if kind == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    import underpass

    made = underpass.loop_factory(interface, mode="native" if kind == NATIVE else "auto")()
    print("path: " + made.nic.summary()[0], file=sys.stderr, flush=True)       # type: ignore[attr-defined]
    return made


def main(program: str, loop: str, interface: str, *where: str) -> None:
    """Serve until killed."""
    address, port, *certificate = where

    async def serve() -> None:
        await PROGRAMS[program](address, int(port), "".join(certificate))

    with asyncio.Runner(loop_factory=lambda: loop_of(loop, interface)) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
