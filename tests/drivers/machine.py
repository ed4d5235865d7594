"""A guest under qemu's software emulation, and where its network cards end: in namespaces of this machine.

     guest                                     this machine
    agent  <---- questions, by a serial line ----  tests
    card  ======= tap device =========  namespace of the card's peer: 10.77.N.2, an ordinary Linux host

One boot serves all tests. Should this process be killed, qemu dies with it, and the tap devices with qemu.
"""

import array
import contextlib
import fcntl
import json
import os
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.drivers.cards import Card
from tests.drivers.image import Modules, initramfs
from tests.drivers.packages import REPOSITORY, Packages

from underpass.linux.namespaces import die_with_parent, remove, run, sweep
from underpass.testing.namespaces import End

HERE = Path(__file__).resolve().parent
SERIAL = "/dev/ttyS1"
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "veth")
BOOT_S, ANSWER_S = 120.0, 60.0
CORES, MEMORY_MIB = 2, 1536
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000


class GuestError(AssertionError):
    """The guest could not do what it was asked for, or is gone: with its traceback or its last words."""


class Agent:
    """The far end of the line of JSON; `last_words` is asked when there is no answer."""

    def __init__(self, line: socket.socket | IO[bytes], last_words: Any) -> None:
        self._line = line.makefile("rwb", buffering=0) if isinstance(line, socket.socket) else line
        self._last_words = last_words
        self._lock = threading.Lock()

    def hear(self) -> Any:
        """The next answer's value. Raises GuestError."""
        try:
            heard = self._line.readline()
        except OSError:         # no answer in time, and from then on none at all
            heard = b""
        if not heard:
            raise GuestError(f"the guest does not answer; it said last: {self._last_words()}")
        answer = json.loads(heard)
        if "error" in answer:
            raise GuestError(f"{answer['error']}\nin the guest:\n{answer['trace']}")
        return answer["value"]

    def call(self, name: str, **arguments: Any) -> Any:
        """What the function of `guest/bench.py` returns there."""
        with self._lock:
            self._line.write(json.dumps({"call": name, "with": arguments}).encode() + b"\n")
            return self.hear()


@dataclass(frozen=True)
class Ground:
    """Where a driver is tried: `ours` is what Underpass is put under, `peer` the other end of its wire."""

    card: Card
    agent: Agent
    ours: End                           # of the guest: only its names and addresses count
    peer: End
    set_cable: Callable[[bool], None]   # pull the cable, or put it back

    @property
    def interface(self) -> str:
        """The name of the interface, where Underpass is."""
        return self.ours.interface

    def call(self, name: str, **arguments: Any) -> Any:
        """See `Agent.call`."""
        return self.agent.call(name, **arguments)

    def ask(self, name: str, **arguments: Any) -> Any:
        """The same, of a function about an interface, which is ours."""
        return self.agent.call(name, interface=self.interface, **arguments)


class Guest:
    """The running machine, a context manager; `grounds` has one for each card."""

    def __init__(self, packages: Packages, cards: Sequence[Card]) -> None:
        self.packages, self.cards = packages, cards
        self.grounds: dict[str, Ground] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        sweep()
        with self._undo:
            folder = self._undo.enter_context(tempfile.TemporaryDirectory(prefix="underpass-guest-"))
            self.folder = Path(folder)
            wires = [self._wire(card, network) for network, card in enumerate(self.cards, 1)]
            self._start(wires)
            self._configure(wires)
            self._undo = self._undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._undo.close()

    def set_link(self, card: str, up: bool) -> None:
        """Pull the card's cable, or put it back."""
        self._tell("set_link", name=f"wire-{card}", up=up)

    def last_words(self) -> str:
        """The end of what the guest wrote on its console."""
        return (self.folder / "console").read_text(errors="replace").replace("\r", "")[-2000:]

    # before it runs

    def _wire(self, card: Card, network: int) -> tuple[End, End, list[int]]:
        """Both ends, and the descriptors of the tap device between them: one for each queue."""
        peer = End(f"up-{os.getpid()}-guest-{card.name}", f"tap{network}", 2, network)
        ours = End("", card.name, 1, network)
        run("ip", "netns", "add", peer.name)
        self._undo.callback(remove, [peer])
        with peer.entered():
            queues = [tap(peer.interface, card.queues > 1) for _ in range(card.queues)]
        for queue in queues:
            self._undo.callback(os.close, queue)
        peer.set_up(1500, 24, *peer.knows(ours))
        return ours, peer, queues

    def _start(self, wires: Sequence[tuple[End, End, list[int]]]) -> None:
        listening = {name: listen(self.folder / name) for name in ("agent", "monitor")}
        drivers = (it.driver for it in self.cards)
        (self.folder / "initramfs").write_bytes(initramfs(
            self.packages.busybox, Modules(self.packages.modules), (*MODULES, *drivers), init(self.folder)))
        with (self.folder / "qemu").open("wb") as said:
            process = subprocess.Popen(
                [*self.packages.qemu(), *self._arguments(wires)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                pass_fds=[fd for _, _, queues in wires for fd in queues],
                preexec_fn=die_with_parent)  # noqa: PLW1509
        self._undo.callback(process.wait)
        self._undo.callback(process.kill)
        self._monitor = accept(listening["monitor"], process, self.folder).makefile("rwb", buffering=0)
        self._monitor.readline()
        self._tell("qmp_capabilities")
        line = accept(listening["agent"], process, self.folder)
        self.agent = Agent(line, self.last_words)
        line.settimeout(BOOT_S)
        assert self.agent.hear() == "ready"
        line.settimeout(ANSWER_S)

    def _arguments(self, wires: Sequence[tuple[End, End, list[int]]]) -> list[str]:
        """qemu's command line."""
        arguments = shlex.split(
            f"-M q35 -accel tcg,thread=multi -cpu max -smp {CORES} -m {MEMORY_MIB}"
            " -display none -no-reboot -nic none"
            f" -kernel {self.packages.kernel} -initrd {self.folder}/initramfs"
            " -append 'console=ttyS0 panic=-1 mitigations=off quiet softlockup_panic=1 hung_task_panic=1'"
            " -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
            f" -serial file:{self.folder}/console -qmp unix:{self.folder}/monitor"
            f" -chardev socket,id=agent,path={self.folder}/agent -serial chardev:agent")
        for card, (ours, _, queues) in zip(self.cards, wires, strict=True):
            fds = ":".join(map(str, queues))
            arguments += ["-netdev", f"tap,id=wire-{card.name},fds={fds},vhost=off", "-device",
                          f"{card.device},netdev=wire-{card.name},mac={ours.mac_text},romfile="]
        return arguments

    # once it runs

    def _configure(self, wires: Sequence[tuple[End, End, list[int]]]) -> None:
        for card, (ours, peer, _) in zip(self.cards, wires, strict=True):
            ground = Ground(card, self.agent, ours, peer, partial(self.set_link, card.name))
            ground.ask("configure", mac=ours.mac_text, addresses=[f"{ours.v4}/24", f"{ours.v6}/64"],
                       neighbours={it: peer.mac_text for it in (peer.v4, peer.v6)})
            if card.queues > 1:
                ground.ask("set_queues", count=card.queues)
            self.grounds[card.name] = ground

    def _tell(self, command: str, **arguments: Any) -> None:
        """One command to qemu; events that come before its answer are passed over."""
        self._monitor.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = {"event": ""}
        while "event" in answer:
            answer = json.loads(self._monitor.readline())
        assert "return" in answer, answer


def init(folder: Path) -> str:
    """The guest's first script, with the command that runs the agent as this process is run here."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/run",
                   "TMPDIR": "/run", "PYTHONDONTWRITEBYTECODE": "1", **package(folder / "package")}
    agent = (sys.executable, str(HERE / "guest" / "agent.py"), SERIAL)
    return (HERE / "guest" / "init.sh").read_text().replace(
        "@ENVIRONMENT@", shlex.join(f"{name}={value}" for name, value in environment.items())
    ).replace("@AGENT@", shlex.join(agent))


def package(folder: Path) -> dict[str, str]:
    """Environment variables by which the guest's Python finds what this one has imported.

    An editable install would be built anew at each import, and nothing can be written there: a folder of
    links is in its place.
    """
    built = [finder for finder in sys.meta_path if type(finder).__name__ == "MesonpyMetaFinder"]
    for finder in built[:1]:
        link_all(finder._rebuild(), folder)
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY))),
            "MESONPY_EDITABLE_SKIP": os.pathsep.join(finder._build_path for finder in built)}


def link_all(tree: Mapping[str, Any], folder: Path) -> None:
    """Links to a tree of files: name -> path, or a tree."""
    folder.mkdir()
    for name, it in tree.items():
        if isinstance(it, str):
            (folder / name).symlink_to(it)
        else:
            link_all(it, folder / name)


def tap(name: str, several: bool) -> int:
    """A descriptor of a tap device, which is made with the first one and goes with the last."""
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if several else 0)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, array.array("B", struct.pack("16sH22x", name.encode(), flags)))
    os.set_inheritable(fd, True)
    return fd


def listen(path: Path) -> socket.socket:
    """A socket that qemu connects to."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1)
    listening.settimeout(10)
    return listening


def accept(listening: socket.socket, process: subprocess.Popen[bytes], folder: Path) -> socket.socket:
    """qemu's end of it. Raises GuestError with what qemu said, should it not come."""
    with listening, contextlib.suppress(TimeoutError):
        return listening.accept()[0]
    said = (folder / "qemu").read_text().strip()
    raise GuestError(f"qemu (status {process.poll()}) does not come up: {said}")
