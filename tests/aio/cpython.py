"""Runs modules of CPython's own test_asyncio on our event loop, in the namespace that it is started in.

Usage: python cpython.py INTERFACE ADDRESS MODULE...

Wherever the tests say 127.0.0.1 they get ADDRESS, which is the interface's, so that client and server meet
within the stack. A test that fails is run again, as `python -m test --rerun` does: some measure time. One
JSON document on stdout: how many tests ran, how many connections the stack had, which tests failed every
time, with the last line of why, and which made a loop that got no interface. The XDP program is loaded once
for all of their loops: that takes longer than most of the tests.
"""

import asyncio
import contextlib
import errno
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
import types
import unittest
from asyncio import sslproto
from pathlib import Path
from typing import Any

from underpass import nic
from underpass.aio import factory
from underpass.aio.launch import take_over
from underpass.aio.loop import StackEventLoop, _loops
from underpass.aio.tls import TlsProtocol

# The same tests again over other selectors: the selector is ours in each.
REPEATED = ("SelectEventLoopTests", "PollEventLoopTests", "SelectLoopSockTests")
LIMIT_S = 100                   # for one test, then it hangs
TRIES = 3


class Hangs(Exception):
    """What the alarm raises."""


class Outcome(unittest.TestResult):
    """Keeps the last line of each failure, and what the test's loops were."""

    def __init__(self) -> None:
        super().__init__()
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
                outcome.opened += counters["active_opens"]
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
    """The test module, with the address in the place of loopback's."""
    full = f"test.test_asyncio.{name}"
    spec = importlib.util.find_spec(full)
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text()
    for quote in "'\"":
        source = source.replace(f"{quote}127.0.0.1{quote}", repr(address))
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


def main(interface: str, address: str, *names: str) -> None:
    """Run them and say what came of it."""
    from test.support import socket_helper

    signal.signal(signal.SIGINT, signal.default_int_handler)    # ignored in the background of a shell
    signal.signal(signal.SIGALRM, hangs)
    take_over(interface, {"source_ports": 1024, "frames": 4096, "say": None, "fallback": "kernel",
                          "late": False})
    vars(sslproto)["SSLProtocol"] = TlsProtocol         # for start_tls and the kernel's sockets, too
    vars(socket_helper).update(HOST=address, HOSTv4=address)
    rows = []
    with contextlib.ExitStack() as holding:
        load_once(holding)
        for name in names:
            outcome = Outcome()
            outcome.watch()
            run(module_of(name, address), outcome)
            rows.append({"module": name, "ran": outcome.testsRun, "skipped": len(outcome.skipped),
                         "opened": outcome.opened, "bad": outcome.bad,
                         "on_kernel": sorted(outcome.on_kernel)})
    json.dump(rows, sys.stdout, indent=1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:       # the tests write files where they are
        os.chdir(folder)
        main(*sys.argv[1:])
        os.chdir("/")
