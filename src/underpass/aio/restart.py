"""What an application says of its connections, so that they pass to the next process on a restart."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

Leave = Callable[[asyncio.BaseProtocol, asyncio.BaseTransport], bytes | None]
Resume = Callable[[asyncio.BaseProtocol, bytes], None]


@dataclass(frozen=True)
class Handler:
    """See `on_restart`."""

    leave: Leave
    resume: Resume | None


_handlers: list[Handler] = []
_told: list[Callable[[], None]] = []


def on_restart(leave: Leave, resume: Resume | None = None) -> None:
    """Have connections that are idle pass to the next process when `underpass restart` replaces this one.

    `leave(protocol, transport)` is called for each accepted connection on which nothing waits to be sent. It
    returns what the next process needs to know of it, b"" where that is nothing, or None where the connection
    is at work: then it is asked again, until the time to drain is over, and the connection reset. The next
    process runs the program anew. Once it listens on the same address and port, its protocol factory makes a
    protocol for the connection, `connection_made` is called as if it had just come, and then
    `resume(protocol, state)`, before anything is received. A connection that has carried nothing yet is not
    asked about. TLS does not pass on: such a connection is closed in order where it is idle.

    A second call replaces what the first one said. Only programs that run as workers (`underpass run
    --workers`) are ever asked.
    """
    _handlers[:] = [Handler(leave, resume)]
    for tell in _told:
        tell()


def handler() -> Handler | None:
    """What was said last."""
    return _handlers[0] if _handlers else None


def when_said(tell: Callable[[], None]) -> None:
    """Call this once there is a handler, or at once."""
    _told.append(tell)
    if _handlers:
        tell()
