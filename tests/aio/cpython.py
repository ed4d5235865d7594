"""Runs modules of CPython's own test_asyncio on our event loop, in the namespace that it is started in.

Usage: python cpython.py INTERFACE ADDRESS PEER PEER_ADDRESS MODULE...

Wherever the tests say 127.0.0.1 they get ADDRESS, which is the interface's, so that client and server
meet within the stack. The blocking sockets that some have for the other end, in threads of their own, are
made in the namespace PEER, at PEER_ADDRESS: those are the kernel's, and meet the stack over the
interface. A test that fails is run again, as `python -m test --rerun` does: some measure time. One JSON
document on stdout: how many tests ran, how many connections the stack had, which tests failed every time,
with the last line of why, and which made a loop that got no interface. The XDP program is loaded once for
all of their loops: that takes longer than most of the tests.
"""

import asyncio
import contextlib
import errno
import importlib.util
import json
import os
import signal
import socket
import sys
import tempfile
import time
import types
import unittest
from asyncio import sslproto
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from underpass import nic
from underpass.aio import factory
from underpass.aio.launch import take_over
from underpass.aio.loop import StackEventLoop, _loops
from underpass.aio.tls import TlsProtocol

sys.path.append(str(Path(__file__).parents[2]))
from underpass.linux.namespaces import inside

# The same tests again over other selectors: the selector is ours in each.
REPEATED = ("SelectEventLoopTests", "PollEventLoopTests", "SelectLoopSockTests")
LIMIT_S = 100                   # for one test, then it hangs
TRIES = 3
ON_ONE_HOST = "test_create_connection_local_addr_in_use"        # whose server has our address


class Hangs(Exception):
    """What the alarm raises."""


class Peer:
    """The host on the other end: what the tests run in threads has its blocking sockets there."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.is_away = True             # else it is on our host, as the tests were written

    def place(self) -> contextlib.AbstractContextManager[None]:
        """Where this thread's sockets are made now."""
        return inside(self.name) if self.is_away else contextlib.nullcontext()

    def run_test_server(self, run: Any) -> Any:
        """`utils.run_test_server` there."""
        @contextlib.contextmanager
        def served(**options: Any) -> Iterator[Any]:
            if self.is_away:
                options = {"host": self.address} | options
            with contextlib.ExitStack() as running:
                with self.place():
                    httpd = running.enter_context(run(**options))
                yield httpd
        return served

    def take_ends(self, case: Any) -> None:
        """A class of tests makes its other ends by tcp_server() and tcp_client(): there from now on."""
        tcp_server, tcp_client = case.tcp_server, case.tcp_client

        def server(test: Any, program: Any, *, family: int = socket.AF_INET, **options: Any) -> Any:
            if family == socket.AF_INET:
                options = {"addr": (self.address, 0)} | options
            with self.place():
                return tcp_server(test, program, family=family, **options)

        def client(*args: Any, **options: Any) -> Any:
            with self.place():
                return tcp_client(*args, **options)

        case.tcp_server, case.tcp_client = server, client


class Outcome(unittest.TestResult):
    """Keeps the last line of each failure, and what the test's loops were."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer = peer
        self.bad: dict[str, str] = {}
        self.on_kernel: set[str] = set()
        self.opened = 0
        self.now = ""
        self.began = 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        """A test has so long."""
        super().startTest(test)
        self.now, self.began = short(test), time.monotonic()
        self.bad.pop(self.now, None)
        self.peer.is_away = not self.now.endswith(ON_ONE_HOST)
        signal.alarm(LIMIT_S)

    def stopTest(self, test: unittest.TestCase) -> None:
        """In time."""
        signal.alarm(0)
        super().stopTest(test)
        print(f"{time.monotonic() - self.began:7.2f} s  {self.now}", file=sys.stderr, flush=True)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        """A failure."""
        super().addFailure(test, err)
        self.note(test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        """An error."""
        super().addError(test, err)
        self.note(test, self.errors[-1][1])

    def note(self, test: unittest.TestCase, text: str) -> None:
        """That it is bad, and, for who looks into it, why."""
        self.bad[short(test)] = last_line(text)
        print(text, file=sys.stderr, flush=True)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        """A part of a test."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.bad[short(test)] = last_line(str(err[1]))

    def watch(self) -> None:
        """Hear of loops without the interface, and of the connections that the others have had."""
        outcome = self

        class OnKernel(factory.KernelLoop):     # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                outcome.on_kernel.add(outcome.now)

        def close(loop: StackEventLoop, whole: Any = StackEventLoop.close) -> None:
            if not loop.is_closed():
                counters = loop.nic.stack().stats()["tcp"]
                outcome.opened += counters["active_opens"] + counters["passive_opens"]
            whole(loop)

        vars(factory)["KernelLoop"] = OnKernel
        type.__setattr__(StackEventLoop, "close", close)


def short(test: unittest.TestCase) -> str:
    """Module, class and name."""
    return test.id().removeprefix("test.test_asyncio.")


def last_line(text: str) -> str:
    """Of a traceback: what was raised."""
    return (text.strip().splitlines() or ["?"])[-1][:200]


def module_of(name: str, address: str) -> types.ModuleType:
    """The test module, with the address in the place of loopback's, and of a server's on the same host."""
    full = f"test.test_asyncio.{name}"
    spec = importlib.util.find_spec(full)
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text()
    for quote in "'\"":
        source = source.replace(f"{quote}127.0.0.1{quote}", repr(address))
    source = source.replace("local_addr=(httpd.address[0]", f"local_addr=({address!r}")
    module = types.ModuleType(full)
    module.__file__, module.__package__, module.__spec__ = spec.origin, "test.test_asyncio", spec
    sys.modules[full] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


def chosen(suite: Any, names: set[str] | None = None) -> Any:
    """The tests but those that are repeated; of these names, where names are given."""
    for it in suite:
        if isinstance(it, unittest.TestSuite):
            yield from chosen(it, names)
        elif not type(it).__name__.startswith(REPEATED) and (names is None or short(it) in names):
            yield it


def run(module: types.ModuleType, outcome: Outcome) -> None:
    """The module's tests, those that fail again."""
    names = None
    for _ in range(TRIES):
        outcome.on_kernel.clear()
        vars(outcome)["_previousTestClass"] = None      # else that of the run before would not be set up anew
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        unittest.TestSuite(chosen(suite, names)).run(outcome)
        asyncio.set_event_loop_policy(None)
        names = set(outcome.bad) | outcome.on_kernel      # the latter perhaps for a loop that another left
        if not names:
            break


def load_once(holding: contextlib.ExitStack) -> None:
    """Every attachment gets the program that the first has loaded; one at a time, as with its own."""
    load: Any = nic.protected
    loaded: list[Any] = []

    def protected(netdev: Any, mode: str, policy: Any, *_: Any, **__: Any) -> Any:
        if not loaded:
            loaded.append(load(netdev, mode, policy, holding))
        return loaded[0]

    def refuse_second(link: Any) -> None:
        if any(not loop.is_closed() for loop in _loops):
            raise OSError(errno.EBUSY, f"{link.name} has a loop")

    vars(nic).update(protected=protected, refuse_second=refuse_second)


def hangs(*_: Any) -> None:
    """The alarm's handler."""
    raise Hangs(f"no end after {LIMIT_S} s")


def main(interface: str, address: str, peer_name: str, peer_address: str, *names: str) -> None:
    """Run them and say what came of it."""
    from test.support import socket_helper
    from test.test_asyncio import functional, utils

    peer = Peer(peer_name, peer_address)

    signal.signal(signal.SIGINT, signal.default_int_handler)    # ignored in the background of a shell
    signal.signal(signal.SIGALRM, hangs)
    take_over(interface, {"source_ports": 1024, "frames": 4096, "say": None, "fallback": "kernel",
                          "late": False})
    vars(sslproto)["SSLProtocol"] = TlsProtocol         # for start_tls and the kernel's sockets, too
    vars(socket_helper).update(HOST=address, HOSTv4=address)
    vars(utils)["run_test_server"] = peer.run_test_server(utils.run_test_server)
    peer.take_ends(functional.FunctionalTestCaseMixin)
    rows = []
    with contextlib.ExitStack() as holding:
        load_once(holding)
        for name in names:
            outcome = Outcome(peer)
            outcome.watch()
            module = module_of(name, address)
            for case in vars(module).values():
                if "tcp_server" in getattr(case, "__dict__", ()):
                    peer.take_ends(case)
            run(module, outcome)
            rows.append({"module": name, "ran": outcome.testsRun, "skipped": len(outcome.skipped),
                         "opened": outcome.opened, "bad": outcome.bad,
                         "on_kernel": sorted(outcome.on_kernel)})
    json.dump(rows, sys.stdout, indent=1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:       # the tests write files where they are
        os.chdir(folder)
        main(*sys.argv[1:])
        os.chdir("/")
