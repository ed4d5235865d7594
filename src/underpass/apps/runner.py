"""Running a native application on an attached interface until a signal ends it."""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from types import FrameType
from typing import Any

import underpass
from underpass.apps.access_log import AccessLog
from underpass.apps.serve import HttpServer

TICK_S = 1.0
DRAIN_S = 5.0


def serve(
    directory: str,
    interface: str,
    *,
    addresses: Sequence[str] = ("", "::"),
    port: int = 80,
    access_log: str | None = None,
    ready: Callable[[Any, HttpServer], None] | None = None,
    every_second: Callable[[HttpServer], None] | None = None,
    limits: dict[str, int | str] | None = None,
    **attach: Any,
) -> dict[str, dict[str, int]]:
    """Serve `directory` over `interface` until SIGINT or SIGTERM; returns the server's counters.

    `access_log` names a file, or is "-" for stdout. `ready` is called once, with the interface and the
    server, when requests are served. `limits` are the stack's, `attach` goes to `underpass.attach`. The first
    signal lets responses in work be finished, within DRAIN_S; a second one does not. Raises OSError in one
    line for what cannot be had: directory, interface, port, privileges, log file.
    """
    with ExitStack() as undo:
        file = "/dev/stdout" if access_log == "-" else access_log
        log = undo.enter_context(closing(AccessLog(file))) if file else None
        nic = undo.enter_context(underpass.attach(interface, **attach))
        stack = nic.stack(**(limits or {}))
        server = HttpServer(stack, directory, access_log=log)
        for address in addresses:
            server.listen(address, port)
        stopping = undo.enter_context(Stopping())
        if ready is not None:
            ready(nic, server)
        while not stopping.signals:
            stack.run(TICK_S)
            server.tick()
            if every_second is not None:
                every_second(server)
        _drain(server, stopping)
        return server.stats()


def _drain(server: HttpServer, stopping: "Stopping") -> None:
    """Let the responses in work be finished."""
    server.drain()
    end = time.monotonic() + DRAIN_S
    while server.open and time.monotonic() < end and stopping.signals < 2:
        server.stack.run(0.05)


class Stopping:
    """Counts SIGINT and SIGTERM instead of dying of them; a context manager. Either also interrupts `run`."""

    def __init__(self) -> None:
        self.signals = 0
        self._before: dict[int, Any] = {}

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1

    def __enter__(self) -> "Stopping":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
