"""Programs that others wrote, unmodified, on the stack."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site
from tests.aio.test_loop import PORT, running

BODY = b"z" * 300_000


def opened() -> tuple[int, int]:
    """Connections that the stack has accepted, and opened."""
    counted = running().nic.stack().stats()["tcp"]
    return counted["passive_opens"], counted["active_opens"]


async def curl(site: Site, *words: str) -> str:
    """What curl is told on the other end."""
    command = ("curl", "-gsS", "--fail", "--max-time", "20", *words)
    return (await asyncio.to_thread(lambda: site.pair.client.run(*command))).stdout


async def application(scope: Any, receive: Any, send: Any) -> None:
    """ASGI: says who asks, or echoes the body; and a websocket that echoes."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    answer = body or json.dumps([scope["client"], scope["server"]]).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(answer)).encode())]})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def under_uvicorn(app: Any, host: str, **options: Any) -> AsyncIterator[None]:
    """uvicorn in this loop."""
    uvicorn = pytest.importorskip("uvicorn")
    config = uvicorn.Config(app, host=host, port=PORT, log_level="warning", lifespan="off", **options)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_uvicorn(site: Site, http: str) -> None:
    httpx = pytest.importorskip("httpx")

    async def main() -> None:
        async with under_uvicorn(application, "0.0.0.0", http=http):
            client, server = json.loads(await curl(site, f"http://{site.host}:{PORT}/"))
            assert client[0] == site.peer and server == [site.host, PORT]
            assert await curl(site, "-d", "posted", f"http://{site.host}:{PORT}/") == "posted"
            async with httpx.AsyncClient() as ours:
                for host in (site.host, "127.0.0.1"):
                    answer = await ours.post(f"http://{host}:{PORT}/", content=BODY)
                    assert answer.content == BODY
            assert opened() == (3, 1)       # each curl, and httpx; 127.0.0.1 is the kernel's
    site.run(main())


def test_uvicorn_s_websockets_and_the_websockets_client(site: Site) -> None:
    websockets = pytest.importorskip("websockets")

    async def main() -> None:
        async with under_uvicorn(application, site.host), \
                websockets.connect(f"ws://{site.host}:{PORT}/", proxy=None) as socket:
            for text in ("short", "long" * 50_000):
                await socket.send(text)
                assert await socket.recv() == text
            assert opened() == (1, 1)
    site.run(main())


def test_fastapi(site: Site) -> None:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        return {"number": number}

    async def main() -> None:
        async with under_uvicorn(app, site.host):
            assert json.loads(await curl(site, f"http://{site.host}:{PORT}/items/7")) == {"number": 7}
            assert opened() == (1, 0)
    site.run(main())


def test_aiohttp_serves_files_websockets_and_uploads(site: Site, tmp_path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    from aiohttp import web
    file = tmp_path / "big"
    file.write_bytes(os.urandom(3_000_000))

    async def answer(request: Any) -> Any:
        if request.path == "/file":
            return web.FileResponse(file)
        if request.path == "/echo":
            return web.Response(body=await request.read())
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def main() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{name}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, site.host, PORT).start()
        url = f"http://{site.host}:{PORT}"
        got = tmp_path / "got"
        await curl(site, "-o", str(got), f"{url}/file")
        assert got.read_bytes() == file.read_bytes()
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/echo", data=BODY * 10) as response:
                assert await response.read() == BODY * 10
            async with session.get(f"{url}/file") as response:
                assert await response.read() == file.read_bytes()
            async with session.ws_connect(f"{url}/socket") as socket:
                await socket.send_str("hello")
                assert (await socket.receive()).data == "hello"
        passive, active = opened()
        assert passive == 1 + active and active > 0         # curl's, and those of our own client
        await runner.cleanup()
    site.run(main())


def test_hypercorn(site: Site) -> None:
    pytest.importorskip("hypercorn")
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    async def main() -> None:
        config, stop = Config(), asyncio.Event()
        config.bind = [f"{site.host}:{PORT}"]
        config.errorlog = None
        task = asyncio.create_task(serve(application, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    assert await curl(site, "-d", "posted", f"http://{site.host}:{PORT}/") == "posted"
                    break
                await asyncio.sleep(0.05)
        stop.set()
        await task
        assert opened()[0] > 0
    site.run(main())


@contextmanager
def redis_server(site: Site) -> Iterator[None]:
    """A real Redis on the other end."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here")
    where = site.pair.client
    process = where.start("redis-server", "--bind", site.peer, "--port", "6379", "--save", "",
                          "--protected-mode", "no", output=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept" in line:
                break
        yield
    finally:
        where.stop(process)


def test_redis_py_with_a_real_redis_across_the_link(site: Site) -> None:
    redis = pytest.importorskip("redis.asyncio")

    async def main() -> None:
        async with redis.Redis(host=site.peer) as client:
            await client.set("key", BODY)
            assert await client.get("key") == BODY
            async with client.pipeline() as pipe:
                for number in range(100):
                    pipe.incrby("sum", number)
                assert (await pipe.execute())[-1] == 4950
        assert opened()[1] > 0
    with redis_server(site):
        site.run(main())


def test_anyio_streams(site: Site) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async def serve(stream: Any) -> None:
            async with stream:
                async for octets in stream:
                    await stream.send(octets)

        listener = await anyio.create_tcp_listener(local_host=site.host, local_port=PORT)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            await anyio.sleep(0.05)
            async with await anyio.connect_tcp(site.host, PORT) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"
            assert opened() == (1, 1)
            group.cancel_scope.cancel()
    site.run(main())
