"""Two network namespaces joined by a veth pair: somewhere to serve and to measure, gone afterwards.

    with Pair() as pair:
        server = pair.server.start("nginx", "-c", config, core=1)
        print(pair.client.run("curl", f"http://{pair.server.address}/").stdout)

Leaving the block, however that comes about, ends every process that was started in it and deletes both
namespaces, and with them the veth pair.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

OURS = re.compile(r"^up-(\d+)-(client|server|relay)$")
GRACE_S = 3.0
PR_SET_PDEATHSIG = 1
PRCTL = ctypes.CDLL(None).prctl


class CommandError(OSError):
    """A command failed; the message is one line: the command and the last line that it wrote."""


class Interrupted(KeyboardInterrupt):
    """SIGTERM or SIGHUP came; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `Interrupted`, so that `finally` clauses run as they do for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP: a second Ctrl-C must not leave half of a cleaning-up behind."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def until(true: Callable[[], bool], timeout_s: float, interval_s: float = 0.05) -> bool:
    """Whether `true()` came to hold within the time."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(interval_s)
    return True


def run(*command: str, timeout_s: float = 60, check: bool = True,
        text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, return what it wrote. Raises CommandError if it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False,
                              input=text)
    except FileNotFoundError:
        raise CommandError(f"the command {command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"{' '.join(command)}: no end after {timeout_s:g} s") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise CommandError(f"{' '.join(command)}: {said[-1]}")
    return done


def die_with_parent() -> None:
    """Between fork and exec: have the kernel kill this process when its parent dies (prctl(2))."""
    PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


class Namespace:
    """One of the two: its name, its interface and its addresses; commands run inside it."""

    def __init__(self, role: str, interface: str, host: int) -> None:
        self.name = f"up-{os.getpid()}-{role}"
        self.interface = interface
        self.address = f"198.18.0.{host}"                   # RFC 2544: set apart for measurements
        self.address6 = f"fd00:18::{host}"
        self.mac = f"02:00:00:00:12:{host:02x}"
        self.processes: list[subprocess.Popen[str]] = []

    def command(self, *command: str, core: int | None = None) -> list[str]:
        """The command as it is run from outside; `core` pins it."""
        pin = ["taskset", "-c", str(core)] if core is not None else []
        return ["ip", "netns", "exec", self.name, *pin, *command]

    def run(self, *command: str, core: int | None = None, timeout_s: float = 60, check: bool = True,
            text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return run(*self.command(*command, core=core), timeout_s=timeout_s, check=check, text=text)

    def start(self, *command: str, core: int | None = None, output: IO[str] | int = subprocess.DEVNULL,
              stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a command inside, in a session of its own: Ctrl-C reaches us alone, and we end it in order.

        It dies with us should we be killed. Its pid is the command's: `ip` and `taskset` replace themselves.
        """
        if shutil.which(command[0]) is None:
            raise CommandError(f"the command {command[0]} is not installed")
        process = subprocess.Popen(
            self.command(*command, core=core), text=True, stdin=stdin, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=die_with_parent)  # noqa: PLW1509
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[str]) -> int:
        """SIGTERM, and SIGKILL for it and its children where it lingers. Returns its status."""
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process in self.processes:
            self.processes.remove(process)
        return process.returncode

    def write(self, path: str, value: int | str) -> None:
        """Write a value to a file of /proc/sys/net or /sys/class/net as this namespace sees it."""
        self.run("tee", path, text=f"{value}\n")

    def offload(self, **features: bool) -> None:
        """Switch offloads of the interface: tx=False, gro=True."""
        words = [word for name, on in features.items() for word in (name, "on" if on else "off")]
        self.run("ethtool", "-K", self.interface, *words)

    def children(self, process: subprocess.Popen[str]) -> list[int]:
        """The pids of a process's children."""
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]


class Pair:
    """Two namespaces `up-PID-client` and `up-PID-server` and their veth pair; a context manager."""

    def __init__(self, interfaces: tuple[str, str] | None = None, mtu: int = 1500, queues: int = 1) -> None:
        client, server = interfaces or (f"uc{os.getpid()}", f"us{os.getpid()}")
        self.client = Namespace("client", client, 1)
        self.server = Namespace("server", server, 2)
        self.namespaces = [self.client, self.server]
        self.mtu = mtu
        self.queues = queues

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise PermissionError("making network namespaces needs root: run it with sudo")
        sweep()
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _make(self) -> None:
        for side in self.namespaces:
            run("ip", "netns", "add", side.name)
        self._join()
        for side in (self.client, self.server):
            run("ip", "-n", side.name, "-batch", "-", text="\n".join((
                f"link set {side.interface} address {side.mac} mtu {self.mtu}",
                f"addr add {side.address}/15 dev {side.interface}",
                f"addr add {side.address6}/64 dev {side.interface} nodad",
                "link set lo up", f"link set {side.interface} up", "")))

    def _join(self) -> None:
        """Make the link between the two."""
        self.veth(self.client, self.client.interface, self.server, self.server.interface)

    def veth(self, here: Namespace, interface: str, there: Namespace, peer: str) -> None:
        """Make a veth pair with an end in each of two namespaces."""
        queues = ["numrxqueues", str(self.queues), "numtxqueues", str(self.queues)]
        run("ip", "-n", here.name, "link", "add", interface, *queues, "type", "veth",
            "peer", "name", peer, *queues, "netns", there.name)

    def close(self) -> None:
        """End the processes and delete the namespaces. May be called twice."""
        with signals_held():
            for side in self.namespaces:
                for process in list(side.processes):
                    side.stop(process)
            for side in self.namespaces:
                delete(side.name)


def delete(name: str) -> None:
    """Delete a namespace and end what still runs in it: a daemon's children, a killed run's."""
    for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "del", name, check=False)


def sweep() -> None:
    """Delete what a run that died by SIGKILL left behind: namespaces of ours whose process is gone."""
    directory = Path("/run/netns")
    for path in directory.iterdir() if directory.is_dir() else ():
        match = OURS.match(path.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            delete(path.name)
