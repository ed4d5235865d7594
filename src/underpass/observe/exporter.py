"""An HTTP server for scrapers, on an ordinary socket of Linux's, in a process beside the workers.

Nobody who asks can hold it up: a connection has so many seconds in all, from its first octet to the last of
the answer, however it spends them; so many connections are served at a time, and more are closed at once.
Whatever happens here, the workers only have their memory read.
"""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AT_ONCE = 8
TIME_S = 10.0
PAGE = b"<html><head><title>Underpass</title></head><body><a href='/metrics'>metrics</a></body></html>\n"


class Exporter(ThreadingHTTPServer):
    """Serves under /metrics what `text` makes of an Accept header: its type and octets. Port 0: any free one.

    Raises OSError where the address cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], text: Callable[[str], tuple[str, bytes]],
                 time_s: float = TIME_S, at_once: int = AT_ONCE) -> None:
        self.text, self.time_s = text, time_s
        self.turned_away = 0
        self._places = threading.BoundedSemaphore(at_once)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """As HTTPServer's, but without asking the resolver for a name of ours."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]    # type: ignore[assignment]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is a place for one more."""
        if self._places.acquire(blocking=False):
            return True
        self.turned_away += 1
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to serve; where no thread is to be had the place is free again."""
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and end it when its time is up."""
        clock = threading.Timer(self.time_s, end, [request])
        clock.daemon = True
        clock.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            clock.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that goes away, or is sent away, is not worth a word."""


def end(request: socket.socket) -> None:
    """Whoever waits on the socket sees its end."""
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class Handler(BaseHTTPRequestHandler):
    """One request, and the connection is closed."""

    server: Exporter
    server_version = "underpass"
    sys_version = ""

    def setup(self) -> None:
        """No call on the socket takes longer than the connection may."""
        self.request.settimeout(self.server.time_s)
        super().setup()

    def do_GET(self) -> None:
        """Answer /metrics, and / with a link to it."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            kind, body = self.server.text(self.headers.get("Accept", ""))
            self.answer(200, kind, body)
        elif path == "/":
            self.answer(200, "text/html; charset=utf-8", PAGE)
        else:
            self.answer(404, "text/plain; charset=utf-8", b"only /metrics is here\n")

    do_HEAD = do_GET

    def answer(self, status: int, kind: str, body: bytes) -> None:
        """The whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *words: Any) -> None:
        """Requests are not logged."""
