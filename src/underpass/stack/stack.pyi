from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from underpass.link.gate import GateMemory
from underpass.link.handover import HandoverLink
from underpass.link.link import LinkBase
from underpass.stack.arena import Arena
from underpass.stack.sockets import Connection, Listener
from underpass.tcp.flows import FlowTable
from underpass.tcp.services import ServiceTable

READABLE: int
WRITABLE: int
ACCEPTED: int
CONNECTED: int
CLOSED: int
URGENT: int
TROUBLE: int

class Stack:
    """A worker over a link. Control-plane methods take text addresses; the packet path never calls Python.

    `limits` are fields of Limits by name (connections, half_open, time_waits, rcv_bytes, snd_frames, ...).
    """

    link: LinkBase
    arena: Arena
    recovery: dict[str, Any] | None
    """What became of the connections of a process that died: `midway` (in a turn), `kept`, and `aborted`, how
    many by reason.
    """
    def __init__(
        self, link: LinkBase, mac: bytes, *, seed: bytes | None = None, arena: int = -1,
        crashed: bool = False, **limits: int | str,
    ) -> None: ...  # fmt: skip
    # control plane, called between steps
    def set_mac(self, mac: bytes) -> None: ...
    def set_mtu(self, mtu: int) -> None: ...
    def set_interface(self, name: str) -> None: ...
    def set_kernel_counters(self, xdp: dict[str, int], sockets: dict[str, int]) -> None: ...
    def set_strict_checksum(self, strict: bool) -> None: ...
    def set_addresses(self, addresses: Iterable[tuple[str, int]]) -> None: ...
    def set_routes(self, routes: Iterable[tuple[str, int, str | None, str | None, int, int]
                                          | tuple[str, int, str | None, str | None, int, int, int]]) -> None:
        """Rows of destination, prefix length, via (None: on-link), source, metric, mtu (0: interface), and
        the MSS to announce (0 or left out: by the interface)."""
    def set_neighbour(self, address: str, mac: bytes | None, failed: bool = False) -> None: ...
    def wanted(self) -> list[tuple[str, str]]:
        """Neighbours that the packet path asks for since the last call: (address, "resolve" or "probe")."""
    def neighbours(self) -> list[tuple[str, bytes | None, str, int]]:
        """Known neighbours: address, MAC, state, ns since the last packet to it (as of the last step)."""
    # sockets
    def listen(
        self, address: tuple[str, int], backlog: int = 1024, *, congestion: str | None = None
    ) -> Listener: ...
    def connect(
        self,
        address: tuple[str, int],
        source: tuple[str, int] | None = None,
        options: Iterable[tuple[int, int, int | bytes | str]] = (),
    ) -> Connection: ...
    # the loop
    def step(self, now_ns: int) -> int:
        """One turn at the given time, for virtual clocks. Returns packets received."""
    def events(self) -> list[tuple[Connection, int]]:
        """What happened for Python since the last call, without a turn: step()'s companion."""
    def next_deadline(self) -> int | None:
        """When the next timer or the link has something to do, in ns of the caller's clock, or None."""
    def poll(self, timeout: float | None = None) -> list[tuple[Connection, int]]:
        """Run until something happened for Python or timeout seconds passed: connections and event bits."""
    def run(self, timeout: float | None = None, wake_fds: Sequence[int] = ()) -> list[int]:
        """Run native applications without the GIL until one of wake_fds is readable (returned), `wanted` has
        entries, stop() was called, a signal came, or the timeout passed."""
    def run_for_events(self, timeout: float | None = None, wake_fds: Sequence[int] = ()) -> list[int]:
        """As run(), but returns also when something happened for Python: see events()."""
    def share_flows(self, table: FlowTable, link: HandoverLink, services: ServiceTable) -> None:
        """This worker is one of several: its flows stand in `table`, and packets of others' go there by
        `link`, its own. `services`: who serves what it does not listen on itself.
        """
    def show_flows(self, table: FlowTable) -> None: ...
    def set_gate(self, gate: GateMemory, *, cookies: bool, refuses: bool) -> None: ...
    def suspend(self) -> int: ...
    def abort_all(self) -> int:
        """Reset all connections, those as well that were let go and still send; returns how many there were.
        Applications and poll() are told ECONNABORTED.
        """
    def note_given_up(self, times: int) -> None:
        """How often this worker had to begin without the connections of a process that died."""
    def set_steering(
        self, key: bytes = b"", indirection: list[int] | None = None, queues: set[int] | None = None,
        v4: bool = True, v6: bool = True,
    ) -> bool:
        """How the device spreads packets over its queues (RSS): the Toeplitz key, the queue of each entry,
        and whether it hashes the ports of TCP over IPv4 and IPv6. `queues` are ours: source ports are chosen
        so that answers come there. Returns whether it is of any use; without an argument any port will do.
        """
    def set_moderation(self, seconds: float) -> None: ...
    def set_spin(self, seconds: float) -> None: ...
    def stop(self) -> None: ...
    def stats(self) -> dict[str, dict[str, int]]:
        """Counters by layer: "link", "refused" (by reason), "tcp", "pool", "loop", "overload"."""
    def connections(self) -> list[dict[str, int | str]]:
        """Every connection, listener and TIME_WAIT entry, in the manner of ss."""
    def capture_start(
        self, program: bytes = b"", *, snaplen: int = 262144, refused_only: bool = False, interface: int = 0,
        epoch_ns: int = 0, ring_bytes: int = 1 << 24,
    ) -> int:
        """Copy what passes from now on into a ring in shared memory; returns its memfd, the stack's own."""
    def capture_stop(self) -> None:
        """End the capture; its reader keeps what stands in the ring. May be called without one."""
    def trace_start(
        self, remote: str | None = None, *, remote_port: int = 0, local_port: int = 0,
        ring_bytes: int = 1 << 22,
    ) -> int:
        """Note what one connection does in a ring in shared memory; returns its memfd, the stack's own.

        The first with this remote address (None: any) and these ports (0: any): one that there is, where
        `remote_port` is given, else the next one."""
    def trace_stop(self) -> None:
        """End the trace; its reader keeps what stands in the ring. May be called without one."""
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...

def admission_keys(seed: bytes) -> bytes: ...
def checked_limits(given: dict[str, int | str]) -> dict[str, int]: ...
