"""Running a native application on an attached interface until a signal ends it."""

import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import underpass
from underpass.apps.access_log import AccessLog
from underpass.apps.serve import HttpServer
from underpass.apps.sites import Site, claims_of
from underpass.linux.admission import LET_ALL_IN, AdmissionPlan, flows_of
from underpass.linux.ports import DEFAULT_COUNT
from underpass.log import Event
from underpass.nic import Nic
from underpass.workers.counters import summed
from underpass.workers.lender import Lender
from underpass.workers.plan import Plans, WorkerPlan
from underpass.workers.supervisor import Supervisor

TICK_S = 1.0
DRAIN_S = 5.0


def serve(
    sites: Sequence[Site],
    interface: str,
    *,
    ready: Callable[[Nic], None] | None = None,
    limits: dict[str, int | str] | None = None,
    admission: AdmissionPlan = LET_ALL_IN,
    **attach: Any,
) -> dict[str, dict[str, int]]:
    """Serve `sites` over `interface` until SIGINT or SIGTERM; returns the servers' counters, summed.

    `ready` is called once, when requests are served. `limits` are the stack's, `admission` is what the XDP
    program decides about new connections, `attach` goes to `underpass.attach`. The first signal lets
    responses in work be finished, within DRAIN_S; a second one does not. Raises OSError in one line for what
    cannot be had: directory, interface, port, privileges, log file.
    """
    with ExitStack() as undo:
        files = ["/dev/stdout" if site.access_log == "-" else site.access_log for site in sites]
        logs = [undo.enter_context(closing(AccessLog(file))) if file else None for file in files]
        nic = undo.enter_context(underpass.attach(
            interface, admission=admission.with_room(flows_of(limits or {})), **attach))
        stack = nic.stack(**(limits or {}))
        servers = [HttpServer(stack, site.directory, access_log=log)
                   for site, log in zip(sites, logs, strict=True)]
        for site, server in zip(sites, servers, strict=True):
            for address in site.addresses:
                server.listen(address, site.port)
        stopping = undo.enter_context(Stopping())
        if ready is not None:
            ready(nic)
        while not stopping.signals:
            stack.run(TICK_S)
            for server in servers:
                server.tick()
        nic.say(f"draining: open connections have {DRAIN_S:g} s", Event.DRAIN, interface=interface,
                seconds=DRAIN_S)
        _drain(servers, stopping)
        return summed(server.stats() for server in servers)


def serve_by_workers(
    sites: Sequence[Site],
    interface: str,
    *,
    workers: int,
    cores: Sequence[int] | None = None,
    user: str | None = "nobody",
    ready: Callable[[Supervisor], None] | None = None,
    limits: dict[str, int | str] | None = None,
    log_format: str = "text",
    admission: AdmissionPlan = LET_ALL_IN,
    **options: Any,
) -> dict[str, dict[str, int]]:
    """Serve `sites` by so many workers, each with its share of the interface's queues, under a supervisor.
    A site with `own_workers` is served by so many of them, which serve nothing else.

    As `serve`; `user` is whom the workers become, `log_format` is that of what they say themselves, `options`
    go to `Supervisor`. SIGHUP has them go on in new processes, one after the other; then, with `again` in the
    options, in this process a new program, by those words.
    """
    plans = http_plans(sites, limits=limits or {}, user=user, log_format=log_format, admission=admission)
    return supervised(interface, plans, ready, workers=workers, cores=cores, **options)


def run_by_workers(
    words: Sequence[str],
    interface: str,
    *,
    workers: int,
    cores: Sequence[int] | None = None,
    user: str | None = None,
    ready: Callable[[Supervisor], None] | None = None,
    limits: dict[str, int | str] | None = None,
    log_format: str = "text",
    **options: Any,
) -> None:
    """Run a program, of which these words are the command line, so many times, each with its share of the
    interface's queues, under a supervisor; until each has ended in order, or a signal ends them. The other
    arguments are as for `serve_by_workers`.
    """
    plan = program_plan(words, user, limits, log_format)
    supervised(interface, plan, ready, workers=workers, cores=cores, **options)


def run_with_loops(
    words: Sequence[str],
    interface: str,
    *,
    workers: int,
    user: str | None = None,
    ready: Callable[[Supervisor], None] | None = None,
    limits: dict[str, int | str] | None = None,
    log_format: str = "text",
    **options: Any,
) -> int:
    """Run a program once, whose event loops are so many workers; returns its status. As `run_by_workers`."""
    bury_children()
    plan = program_plan(words, user, limits, log_format)
    with Lender(interface, plan, workers=workers, **options) as lender:
        lender.when_ready = (lambda: ready(lender)) if ready is not None else None
        lender.run()
        return lender.status


def program_plan(words: Sequence[str], user: str | None, limits: dict[str, int | str] | None,
                 log_format: str) -> WorkerPlan:
    """What each worker is to do to run it."""
    return WorkerPlan(program=list(words), user=user, limits=limits or {}, log_format=log_format,
                      source_ports=DEFAULT_COUNT)


def supervised(interface: str, plans: Plans, ready: Callable[[Supervisor], None] | None,
               **options: Any) -> dict[str, dict[str, int]]:
    """Have workers do this until a signal ends them; returns their counters, summed."""
    bury_children()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})       # till the supervisor hears it: see `run`
    with Supervisor(interface, plans, **options) as supervisor:
        supervisor.wait_ready()
        if ready is not None:
            ready(supervisor)
        return supervisor.run()


def bury_children() -> None:
    """Before we were executed in this process, it may have had some that have ended since."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def http_plans(sites: Sequence[Site], **common: Any) -> list[WorkerPlan]:
    """A plan for each site with workers of its own, and one for all others; `common` goes to each."""
    shared = [site for site in sites if not site.own_workers]
    groups = [[site] for site in sites if site.own_workers] + ([shared] if shared else [])
    return [replace(http_plan(them, **common), workers=them[0].own_workers) for them in groups]


def http_plan(sites: Sequence[Site], **common: Any) -> WorkerPlan:
    """What each worker is to do to serve directories; `common` are further fields of its plan. Raises OSError
    where one is none.
    """
    for site in sites:
        if not Path(site.directory).is_dir():
            raise OSError(errno.ENOTDIR, f"{site.directory} is no directory")
    resolved = [replace(site, directory=str(Path(site.directory).resolve())) for site in sites]
    return WorkerPlan("underpass.apps.http_worker:HttpWorker", {"sites": [asdict(it) for it in resolved]},
                      claims_of(sites), readable=[it.directory for it in resolved], **common)


def _drain(servers: Sequence[HttpServer], stopping: "Stopping") -> None:
    """Let the responses in work be finished."""
    for server in servers:
        server.drain()
    end = time.monotonic() + DRAIN_S
    while _still_sends(servers) and time.monotonic() < end and stopping.signals < 2:
        servers[0].stack.run(0.05)


def _still_sends(servers: Sequence[HttpServer]) -> bool:
    """Whether a connection is open, or closed by the server and not yet acknowledged to its end."""
    connections: int = servers[0].stack.stats()["tcp"]["connections"]
    return connections > 0 or any(server.open > 0 for server in servers)


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
