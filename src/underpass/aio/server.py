"""A server of the event loop: the stack's listeners, and the kernel's beside them."""

import socket
from asyncio import base_events
from typing import Any

SSL_ARGUMENTS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")


class StackServer(base_events.Server):
    """Each port is the stack's before the kernel listens on it. A connection that the kernel accepted on the
    interface before would be reset, as its packets then went to the stack.
    """

    _loop: Any
    _sockets: list[socket.socket] | None
    _serving: bool
    _backlog: int
    _ssl_context: Any
    _protocol_factory: Any

    def _start_serving(self) -> None:
        sockets = [] if self._serving else list(self._sockets or ())
        tls = {name: getattr(self, f"_{name}") for name in SSL_ARGUMENTS}
        accepted = self._loop.acceptor(self._protocol_factory, self._ssl_context, self, tls)
        try:
            for sock in sockets:
                self._loop.serve_first(sock, self._backlog, accepted)
            super()._start_serving()            # type: ignore[misc]
        except BaseException:
            for sock in sockets:
                self._loop.serve_no_more(sock)
            raise
