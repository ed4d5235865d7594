"""The application that a browser is sent to: a page, its assets, and a websocket that answers."""

ASSETS = 50
SCRIPT = """
let loaded = 0
const socket = new WebSocket("wss://" + location.host + "/socket")
const answer = new Promise(done => socket.onmessage = message => done(message.data))
socket.onopen = () => socket.send("hello")
addEventListener("load", async () => fetch("/seen?" + loaded + "-" + await answer))
"""
ASSET = b"loaded += 1 //" + b"x" * 20000
PAGE = f"<!doctype html><title>assets</title><script>{SCRIPT}</script>" + "".join(
    f'<script src="/asset/{number}.js"></script>' for number in range(ASSETS))
seen = []


async def app(scope, receive, send):
    """GET /report tells what pages have said: how many assets came, and what the websocket answered."""
    if scope["type"] == "websocket":
        await answer(receive, send)
        return
    body, kind = PAGE.encode(), b"text/html"
    if scope["path"].startswith("/asset/"):
        body, kind = ASSET, b"text/javascript"
    elif scope["path"] == "/seen":
        seen.append(scope["query_string"])
        body = b""
    elif scope["path"] == "/report":
        body = b";".join(seen)
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)),
               (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer(receive, send):
    """Once, and then wait for the end."""
    await receive()
    await send({"type": "websocket.accept"})
    said = (await receive())["text"]
    await send({"type": "websocket.send", "text": f"{said}-back"})
    await receive()
