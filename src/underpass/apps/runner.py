"""Running a native application on an attached interface until a signal ends it."""

import errno
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import FrameType
from typing import Any

import underpass
from underpass.apps.access_log import AccessLog
from underpass.apps.serve import HttpServer
from underpass.workers.supervisor import Supervisor, WorkerPlan

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


def serve_by_workers(
    directory: str,
    interface: str,
    *,
    workers: int,
    cores: Sequence[int] | None = None,
    user: str | None = "nobody",
    addresses: Sequence[str] = ("", "::"),
    port: int = 80,
    access_log: str | None = None,
    ready: Callable[[Supervisor], None] | None = None,
    limits: dict[str, int | str] | None = None,
    say: Callable[[str], None] = print,
    **options: Any,
) -> dict[str, dict[str, int]]:
    """Serve `directory` by so many workers, each with its share of the interface's queues, under a
    supervisor.

    As `serve`; `user` is whom the workers become. `say` is told what becomes of them. SIGHUP starts them
    anew, one after the other.
    """
    plan = http_plan(directory, addresses, port, access_log=access_log, limits=limits or {}, user=user)
    with Supervisor(interface, plan, workers=workers, cores=cores, say=say, **options) as supervisor:
        supervisor.wait_ready()
        if ready is not None:
            ready(supervisor)
        return supervisor.run()


def http_plan(directory: str, addresses: Sequence[str], port: int, *, access_log: str | None,
              limits: dict[str, int | str], user: str | None) -> WorkerPlan:
    """What each worker is to do to serve a directory. Raises OSError where that is none."""
    if not Path(directory).is_dir():
        raise OSError(errno.ENOTDIR, f"{directory} is no directory")
    arguments = {"directory": str(Path(directory).resolve()), "addresses": list(addresses), "port": port,
                 "access_log": access_log}
    claims = [(address, port) for address in addresses]
    return WorkerPlan("underpass.apps.http_worker:HttpWorker", arguments, claims,
                      readable=[str(Path(directory).resolve())], user=user, limits=limits)


def _drain(server: HttpServer, stopping: "Stopping") -> None:
    """Let the responses in work be finished."""
    server.drain()
    end = time.monotonic() + DRAIN_S
    while _still_sends(server) and time.monotonic() < end and stopping.signals < 2:
        server.stack.run(0.05)


def _still_sends(server: HttpServer) -> bool:
    """Whether a connection is open, or closed by the server and not yet acknowledged to its end."""
    return server.open > 0 or server.stack.stats()["tcp"]["connections"] > 0


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
