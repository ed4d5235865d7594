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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self

from underpass.closing import Closing

OURS = re.compile(r"^up-(\d+)-[\w-]+$")
GRACE_S = 12.0                  # a closed event loop waits ten seconds for its peers, at the most
PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
PRCTL = LIBC.prctl              # looked up now: `die_with_parent` runs between fork and exec


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


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread is in the namespace within the block: the sockets that are made there stay there."""
    with (open("/proc/thread-self/ns/net", "rb") as home,
          open(f"/run/netns/{name}", "rb") as away):
        _enter(away.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if LIBC.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


class Namespace:
    """Its name, its interface and its addresses; commands run inside it."""

    def __init__(self, name: str, interface: str, address: str, address6: str, mac: bytes) -> None:
        self.name = name
        self.interface = interface
        self.address = address
        self.address6 = address6
        self.mac = mac
        self.processes: list[subprocess.Popen[str]] = []

    @property
    def mac_text(self) -> str:
        return self.mac.hex(":")

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """See `inside`."""
        return inside(self.name)

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

    def carries(self) -> bool:
        """Whether the interface has a carrier and Linux has heard of it: before, up to a second after it came
        up, what Linux sends is lost.
        """
        return self.run("cat", f"/sys/class/net/{self.interface}/operstate").stdout == "up\n"

    def offload(self, **features: bool) -> None:
        """Switch offloads of the interface: tx=False, gro=True."""
        words = [word for name, on in features.items() for word in (name, "on" if on else "off")]
        self.run("ethtool", "-K", self.interface, *words)

    def children(self, process: subprocess.Popen[str]) -> list[int]:
        """The pids of a process's children."""
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def set_up(self, mtu: int, prefix_length: int, *more: str) -> None:
        """Give the interface its addresses, and have it and loopback up; `more` are other commands of ip."""
        run("ip", "-n", self.name, "-batch", "-", text="\n".join((
            f"link set {self.interface} address {self.mac_text} mtu {mtu}",
            f"addr add {self.address}/{prefix_length} dev {self.interface}",
            f"addr add {self.address6}/64 dev {self.interface} nodad",
            "link set lo up", f"link set {self.interface} up", *more, "")))


def side(role: str, interface: str, host: int) -> Namespace:
    """A namespace of this process, which `sweep` deletes when that has died."""
    return Namespace(f"up-{os.getpid()}-{role}", interface, f"198.18.0.{host}", f"fd00:18::{host}",
                     bytes((2, 0, 0, 0, 0x12, host)))       # RFC 2544: set apart for measurements


def join(here: Namespace, interface: str, there: Namespace, peer: str, queues: int = 1) -> None:
    """Make a veth pair with an end in each of two namespaces."""
    rings = ["numrxqueues", str(queues), "numtxqueues", str(queues)]
    run("ip", "-n", here.name, "link", "add", interface, *rings, "type", "veth",
        "peer", "name", peer, *rings, "netns", there.name)


def remove(namespaces: Iterable[Namespace]) -> None:
    """End the processes of all, and delete them. May be called twice."""
    with signals_held():
        for it in namespaces:
            for process in list(it.processes):
                it.stop(process)
        for it in namespaces:
            delete(it.name)


class Pair(Closing):
    """Two namespaces `up-PID-client` and `up-PID-server` and their veth pair; a context manager."""

    def __init__(self, interfaces: tuple[str, str] | None = None, mtu: int = 1500, queues: int = 1) -> None:
        client, server = interfaces or (f"uc{os.getpid()}", f"us{os.getpid()}")
        self.client = side("client", client, 1)
        self.server = side("server", server, 2)
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

    def _make(self) -> None:
        for it in self.namespaces:
            run("ip", "netns", "add", it.name)
        self._join()
        for it in (self.client, self.server):
            it.set_up(self.mtu, 15)

    def _join(self) -> None:
        """Make the link between the two."""
        join(self.client, self.client.interface, self.server, self.server.interface, self.queues)

    def close(self) -> None:
        """End the processes and delete the namespaces. May be called twice."""
        remove(self.namespaces)


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
