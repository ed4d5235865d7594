"""An interface that Linux and Underpass share: `attach`, and the worker that serves its queues.

    attach    --> XDP program, frames, AF_XDP sockets, mirror of Linux's tables, source ports
    Nic.stack --> NicStack: a Stack that claims the ports that it listens on, and between turns does the
                  control work: follows Linux's tables, has neighbours resolved, keeps those in use fresh

Leaving the `with` block, an error half-way, and the end of the process all leave the machine as it was.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from math import inf
from typing import TYPE_CHECKING, Any, Self

from underpass.closing import Closing
from underpass.link.afxdp import AfXdpLink, chunk_bytes_for
from underpass.link.frames import Frames
from underpass.link.gate import GateMemory
from underpass.link.local import LocalLink
from underpass.linux import interface, privileges
from underpass.linux.admission import LET_ALL_IN, Admission, AdmissionPlan, flows_of
from underpass.linux.claim_table import ClaimTable
from underpass.linux.commands import commands
from underpass.linux.control import Control
from underpass.linux.control_socket import ControlSocket
from underpass.linux.holders import refuse_second
from underpass.linux.mirror import Mirror
from underpass.linux.netdev_features import NetdevFeatures, as_attached, netdev_features
from underpass.linux.netlink import LinkRecord
from underpass.linux.ports import DEFAULT_COUNT, PortRange
from underpass.log import Event, Say, silent
from underpass.shield.policy import Policy
from underpass.shield.policy_file import read as read_policy
from underpass.shield.shield import Shield, features_of
from underpass.stack.sockets import Connection, Listener
from underpass.stack.stack import Stack
from underpass.xdp.loader import XdpProgram

if TYPE_CHECKING:
    from underpass.link.dpdk import DpdkLink

MODERATION_S = 80e-6    # about as long as network cards wait before they interrupt again
TEND_S = 2.0            # how often blocks of the shield are looked through, at most
SPARED = frozenset({"cookies", "flows", "samples"})     # of the XDP program, where the kernel refuses them
SPIN_S = 0.05           # with busy polling: how long to look for packets before the process sleeps after all


def attach(ifname: str, mode: str = "auto", *, queues: Sequence[int] | None = None, frames: int = 16384,
           busy_poll: bool = False, zero_copy: bool | None = None, checksum: bool = True,
           segmentation: bool = True, moderation: float = MODERATION_S,
           source_ports: int = DEFAULT_COUNT, shield: Policy | str | None = None,
           say: Say = silent, io: str = "afxdp", admission: AdmissionPlan = LET_ALL_IN) -> "Nic":
    """Put Underpass under an Ethernet interface; what it does not claim stays with the kernel.

    `mode` of XDP: "auto" (see `NetdevFeatures.modes`), "native", "generic". `queues`: all
    receive queues by default. `frames`: packet buffers, shared by all connections. `source_ports`: how many
    ports to take from the kernel for outgoing connections; 0 for none. `segmentation`: what a connection has
    ready leaves as one packet that the kernel or the device cuts up. `moderation`: how many seconds a loaded
    worker sleeps, where it serves as many connections so as when packets wake it; 0: never. `shield`: a
    policy that protects the interface from the first packet on, or the TOML file that has one. `say` is told
    what happens to the interface and to the claimed ports (`underpass.log`). `io`: "afxdp", or
    "dpdk", which polls without a pause, to compare with; it knows neither busy_poll nor what follows it.

    `admission`: which new connections the XDP program lets in, and how: by SYN cookies, or not while the
    stack is overloaded.

    Raises OSError in one line: ENODEV, which names the interfaces that are here; EPERM, what is missing and
    how to get it; EBUSY, which XDP program is attached; ENETDOWN. And PolicyError, a ValueError, with what is
    wrong with the policy and its lists, a line each.
    """
    if io not in ("afxdp", "dpdk"):
        raise ValueError(f"io is afxdp or dpdk, not {io!r}")
    return Nic(ifname, mode, queues=queues, frames=frames, busy_poll=busy_poll, zero_copy=zero_copy,
               checksum=checksum, segmentation=segmentation, moderation=moderation, source_ports=source_ports,
               shield=shield, say=say, io=io, admission=admission)


class Nic(Closing):
    """An attached interface; a context manager. See `attach`."""

    def __init__(self, ifname: str, mode: str, *, queues: Sequence[int] | None, frames: int, busy_poll: bool,
                 zero_copy: bool | None, checksum: bool, segmentation: bool, moderation: float,
                 source_ports: int, shield: Policy | str | None, say: Say, io: str,
                 admission: AdmissionPlan) -> None:
        self.name, self.say = ifname, say
        self._moderation = moderation
        self.netdev = checked(ifname)
        self._stack: NicStack | None = None
        self.seed = os.urandom(32)
        self.admission: Admission | None = None
        policy = policy_of(shield)
        with ExitStack() as undo:
            self.mirror = undo.enter_context(closing(Mirror(ifname)))
            self.frames = Frames(frames, chunk_bytes_for(self.netdev.mtu, self.netdev.receive_unit))
            self.link: AfXdpLink | DpdkLink
            if io == "dpdk":        # first: net_af_xdp attaches a program of its own for a moment
                self.link = undo.enter_context(closing(over_dpdk(
                    self.frames, self.netdev, range(self.netdev.queues) if queues is None else queues)))
            self.program, self.shield = protected(self.netdev, mode, policy, undo, admission=admission,
                                                  multi_buffer=False if io == "dpdk" else None)
            self.refused = told_of_refused(self.program, self.shield, say)
            self._plan = admission.without(self.refused)
            self.netdev = as_attached(self.netdev)
            self.ports = undo.enter_context(PortRange(source_ports)) if source_ports else None
            if self.ports:
                self.program.set_flow_range(self.ports.first, self.ports.last)
            if io == "dpdk":
                self.link.register(self.program)
            else:
                self.link = undo.enter_context(closing(AfXdpLink(
                    self.frames, self.netdev, range(self.netdev.queues) if queues is None else queues,
                    program=self.program, zero_copy=zero_copy, checksum=checksum, segmentation=segmentation,
                    busy_poll=busy_poll)))
            self.claims = undo.enter_context(closing(ClaimTable(ifname, self.program, say)))
            self._undo = undo.pop_all()

    def stack(self, **limits: int | str) -> "NicStack":
        """This process's worker, with every queue; there is one. `limits` as for `Stack`.

        Raises ValueError for unknown limits, and for limits given to a later call.
        """
        if self._stack is None:
            if self.ports:
                limits.setdefault("ephemeral_first", self.ports.first)
                limits.setdefault("ephemeral_last", self.ports.last)
            self._admit(limits)
            self._stack = NicStack(self, **limits)
            self._stack.set_moderation(self._moderation)
            if self.link.busy_poll:
                self._stack.set_spin(SPIN_S)
        elif limits:
            raise ValueError("the stack was made already; limits are given to the first call of stack()")
        return self._stack

    @property
    def addresses(self) -> list[str]:
        """The interface's addresses, as Linux has them now."""
        return self.claims.addresses

    def _admit(self, limits: dict[str, int | str]) -> None:
        """Have the XDP program decide about new flows, where that was asked for."""
        if not self._plan.features:
            return
        needed = flows_of(limits)
        if needed > self._plan.flows:
            raise ValueError(f"connections and time_waits are {needed}, and the XDP program looks up"
                             f" {self._plan.flows} flows: AdmissionPlan(flows={needed})")
        self.admission = Admission(self._plan, self.netdev, self.program, seed=self.seed, limits=limits)

    def describe(self) -> dict[str, Any]:
        """Which path is active; "why_not" has the reason for each thing that is not the better one."""
        link, ports = self.link, self.ports
        why_not = {name: reason for name, reason in link.why.items() if reason} | self.refused
        if self.claims.refused:
            why_not["claims"] = "; ".join(self.claims.refused)
        return {
            "interface": self.name, "driver": self.netdev.driver, "queues": list(link.queues),
            "mtu": self.netdev.mtu, "xdp": self.program.mode, "zero_copy": link.zero_copy,
            "need_wakeup": link.need_wakeup, "multi_buffer": link.multi_buffer,
            "tx_checksum": link.tx_checksum, "segmentation": link.segmentation, "busy_poll": link.busy_poll,
            "frames": self.frames.count, "frame_bytes": self.frames.chunk_bytes,
            "source_ports": [ports.first, ports.last] if ports else [],
            "syn_cookies": self._plan.syn_cookies, "overload": self._plan.overload, "why_not": why_not,
        }

    def summary(self) -> list[str]:
        """`describe` in lines for people: what is active, then why not better."""
        return path_in_words(self.netdev, self.program.mode, self.link, self.describe()["why_not"])

    def close(self) -> None:
        """Detach and give everything back. May be called twice."""
        if self._stack is not None:
            self._stack.close()
        self._undo.close()


def policy_of(shield: Policy | str | None) -> Policy | None:
    """A policy, by itself or out of a file. Raises OSError, and PolicyError with all faults of the file."""
    return read_policy(shield) if isinstance(shield, str) else shield


def protected(netdev: NetdevFeatures, mode: str, policy: Policy | str | None, undo: ExitStack, *,
              admission: AdmissionPlan = LET_ALL_IN, multi_buffer: bool | None = None,
              attached: tuple[Mapping[str, int], Mapping[str, Any]] | None = None,
              ) -> tuple[XdpProgram, Shield]:  # fmt: skip
    """The XDP program, attached, and its shield, with the policy loaded if there is one. `multi_buffer` as
    `XdpProgram` has it. `attached`: what another process has attached, to go on with: its
    `XdpProgram.descriptors` and `facts`. A policy that is in force there stays, and a file is not read then.
    Where the kernel refuses what only helps to bear an attack, or to look on, the program is without it: see
    `told_of_refused`. What a policy filters by is never left out.
    """
    adopted, facts = attached or (None, None)
    first = policy_of(policy) if not attached else None
    features = admission.features | (features_of(first) if first is not None else frozenset())
    program = undo.enter_context(closing(XdpProgram(
        netdev, mode, multi_buffer, features=features, entries=admission.sizes, adopted=adopted,
        facts=facts, spared=SPARED)))
    shield = Shield(program, netdev.index)
    if attached and not shield.is_loaded():
        first = policy_of(policy)
    if first is not None:
        shield.load(first)
    return program, shield


def told_of_refused(program: XdpProgram, shield: Shield, say: Say) -> dict[str, str]:
    """What the kernel refuses, by feature, once everybody has been told of it."""
    refused, name = program.refused | shield.left_out, program.netdev.name
    for feature, why in refused.items():
        say(f"{name}: the kernel refuses {feature} in the XDP program, and we go on without: {why}",
            Event.FEATURE_REFUSED, interface=name, feature=feature, reason=why)
    return refused


def tend(shield: Shield) -> None:
    """Forget blocks whose time is over; that it cannot be done now is no reason to stop."""
    with suppress(OSError, KeyError, ValueError):
        shield.sweep()


def over_dpdk(frames: Frames, netdev: NetdevFeatures, queues: Sequence[int]) -> "DpdkLink":
    """The link by DPDK. Raises OSError ENOSYS where this Underpass was built without."""
    try:
        from underpass.link.dpdk import over_af_xdp
    except ImportError as error:
        raise OSError(errno.ENOSYS, "this Underpass was built without DPDK: install libdpdk-dev (22.11 or"
                                    f" newer) and build it again ({error})") from None
    return over_af_xdp(frames, netdev, queues)


def path_in_words(netdev: NetdevFeatures, mode: str, link: "AfXdpLink | DpdkLink",
                  why_not: Mapping[str, str]) -> list[str]:
    """Which path is active, in one line, and a line for each thing that is not the better one."""
    copy = "zero-copy" if link.zero_copy else "copy mode"
    options = ("need_wakeup", "multi_buffer", "tx_checksum", "segmentation", "busy_poll")
    extras = [name.replace("_", " ") for name in options if getattr(link, name)]
    label = getattr(link, "label", None)        # who moves the packets, where it is not we ourselves
    first = f"{netdev.name} ({netdev.driver}): {mode} XDP, {label or copy}, {', '.join(extras)}"
    return [first, *(f"no {name.replace('_', ' ')}: {why}" for name, why in why_not.items() if why)]


def checked(ifname: str, adopts: bool = False) -> NetdevFeatures:
    """The interface's features, once it is sure that it is here, is up, and that we may attach to it. Who
    `adopts` goes on with what is attached.
    """
    link = present(ifname)
    if not adopts:
        refuse_second(link)
    return netdev_features(ifname)


def present(ifname: str) -> LinkRecord:
    """The interface, once it is sure that it is here, is up, and that we have the privileges to attach to it.
    """
    facts = interface.facts(ifname)
    privileges.require()
    if not facts.link.up:
        raise OSError(errno.ENETDOWN, f"interface {ifname} is down: `ip link set {ifname} up`")
    return facts.link


class NicListener(Listener):
    """A listener whose port is claimed: held in the kernel and steered to the stack."""

    def __init__(self, inner: Listener, release: Callable[[], None]) -> None:
        self._inner, self._release = inner, release

    @property
    def address(self) -> tuple[str, int]:  # type: ignore[override]
        """What it listens on."""
        return self._inner.address

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """As `Listener.getsockopt`."""
        return self._inner.getsockopt(level, option, buflen)

    def setsockopt(self, level: int, option: int, value: int | bytes | str) -> None:
        """As `Listener.setsockopt`."""
        self._inner.setsockopt(level, option, value)

    def close(self) -> None:
        """Accept no more. The port stays claimed until the last connection to it has ended."""
        self._inner.close()
        self._release()


class NicStack(Stack):
    """A worker on an attached interface: `Stack`, with the control work done between turns."""

    def __new__(cls, nic: Nic, **limits: int | str) -> Self:
        return super().__new__(cls, LocalLink(nic.link), nic.mirror.link.mac,  # type: ignore[call-arg]
                               seed=nic.seed, **limits)

    def __init__(self, nic: Nic, **limits: int | str) -> None:
        self._nic = nic
        self._tend_at = 0.0
        self._events_fd = nic.mirror.fileno()
        self.set_interface(nic.name)
        admission = nic.admission
        if admission is not None:
            self.show_flows(admission.table)
            self.set_gate(GateMemory(*admission.gate_fds, nic.link.queues),
                          cookies=admission.plan.syn_cookies != "off", refuses=admission.plan.overload)
        self._control = Control(self, nic.mirror, nic.program, nic.claims, nic.say,
                                admission=admission)
        self._asked = ControlSocket(commands(self, nic.name))

    # sockets

    def claim(self, address: tuple[str, int], holder: socket.socket | None = None) -> Callable[[], None]:
        """Take (address, port) from the kernel, for a native application that listens by itself.

        `holder`: a kernel socket of the application's own that listens on it, and serves what does not come
        by the interface. Returns the function that gives it back, which happens when the last connection to
        the port has ended. Raises OSError EADDRINUSE or EADDRNOTAVAIL.
        """
        self._nic.claims.claim(*address, held=holder is not None)
        return lambda: self._control.release_later(address)

    def listen(
        self, address: tuple[str, int], backlog: int = 1024, *, congestion: str | None = None
    ) -> Listener:
        """Accept connections to (address, port); "" is every IPv4 address that we have, "::" every IPv6 one.

        Raises OSError: EADDRINUSE, where the kernel or another program has the port; EADDRNOTAVAIL.
        """
        release = self.claim(address)
        try:
            return NicListener(super().listen(address, backlog, congestion=congestion), release)
        except BaseException:
            self._nic.claims.release(*address)
            raise

    def connect(
        self,
        address: tuple[str, int],
        source: tuple[str, int] | None = None,
        options: Iterable[tuple[int, int, int | bytes | str]] = (),
    ) -> Connection:
        """Open a connection; its source port is one of the reserved ones, or, where given, claimed for it.

        Raises OSError: EADDRNOTAVAIL where none was reserved, and what `Stack.connect` raises.
        """
        ports = self._nic.ports
        port = source[1] if source else 0
        if port == 0 and ports is None:
            raise OSError(errno.EADDRNOTAVAIL, "attach() was told to reserve no source ports")
        if source is None or port == 0 or (ports and ports.first <= port <= ports.last):
            return super().connect(address, source, options)
        release = self.claim(source)
        try:
            return super().connect(address, source, options)
        finally:
            release()

    def publish(self, xdp: dict[str, int]) -> None:
        """Copy what Linux counts to where others can read it."""
        self.set_kernel_counters(xdp, self._nic.link.kernel_stats())

    def close(self) -> None:
        """End what others asked for over the control socket, and close the link."""
        self._asked.close()
        super().close()

    # the loop

    def poll(self, timeout: float | None = None) -> list[tuple[Connection, int]]:
        """Run until something happened for Python, or `timeout` s passed: connections with event bits."""
        self.run_for_events(timeout)
        return self.events()

    def run(self, timeout: float | None = None, wake_fds: Sequence[int] = ()) -> list[int]:
        """Run native applications until one of `wake_fds` (14 at most) is readable, stop(), or timeout."""
        return self._turns(super().run, timeout, wake_fds)

    def run_for_events(self, timeout: float | None = None, wake_fds: Sequence[int] = ()) -> list[int]:
        """As run(), but returns also when something happened for Python: see events()."""
        return self._turns(super().run_for_events, timeout, wake_fds)

    @property
    def control_fds(self) -> tuple[int, int]:
        """Readable when the control work has something to do: the mirror's, the control socket's."""
        return self._events_fd, self._asked.fileno()

    def control(self, changed: bool, asked: bool) -> float:
        """The control work that is due, for a loop of one's own: which of `control_fds` are readable.

        Returns when it wants to be called again at the latest, in seconds of the monotonic clock.
        """
        self._attend(changed)
        if asked:
            self._asked.serve()
        return self._control.refresh_at

    def _attend(self, changed: bool) -> bool:
        """As `Control.serve`, and, now and then, the shield's blocks."""
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + TEND_S
            tend(self._nic.shield)
        return self._control.serve(changed)

    def _turns(self, run: Callable[..., list[int]], timeout: float | None,
               wake_fds: Sequence[int]) -> list[int]:
        """Run on, with the control work in between, until there is a reason to return."""
        end = inf if timeout is None else time.monotonic() + timeout
        while True:
            wait = min(end, self._control.refresh_at) - time.monotonic()
            ready = run(max(wait, 0.0), (*wake_fds, self._events_fd, self._asked.fileno()))
            worked = self._attend(self._events_fd in ready)
            if self._asked.fileno() in ready:
                self._asked.serve()
                worked = True
            mine = [fd for fd in ready if fd in wake_fds]
            if mine or not worked or time.monotonic() >= end:
                return mine
