"""The XDP program on no interface, for test runs (BPF_PROG_TEST_RUN), told what is whose."""

import ipaddress
import socket
import struct
from collections.abc import Iterable
from contextlib import ExitStack, closing

from underpass.closing import Closing
from underpass.xdp.bpf_map import BpfMap
from underpass.xdp.steer_object import COUNTERS, SteerObject

PF_XDP = 44                             # not in Python's socket module
ONLY = bytes(4)                         # the key of a single entry


class Unattached(Closing):
    """With a socket for queue 0, our MAC address and the ports of own flows, first and last (first > last:
    none); the rest as for `SteerObject`. In the place of an attached program for `Shield`.
    """

    def __init__(self, features: Iterable[str], multi_buffer: bool = False, *, mac: bytes,
                 flow_range: tuple[int, int] = (1, 0), entries: dict[str, int] | None = None,
                 measured: str | None = None) -> None:
        with ExitStack() as undo:
            self.object = undo.enter_context(closing(
                SteerObject(features, multi_buffer, entries=entries, measured=measured)))
            taker = undo.enter_context(socket.socket(PF_XDP, socket.SOCK_RAW))
            self.put("xsks", ONLY, struct.pack("=I", taker.fileno()))
            self.put("config", ONLY, mac + struct.pack("=HHH", *flow_range, 0))
            self._undo = undo.pop_all()

    @property
    def features(self) -> frozenset[str]:
        """Those that it was loaded with."""
        return self.object.features

    @property
    def program_fd(self) -> int:
        """For test runs."""
        return self.object.program_fd

    def map(self, name: str) -> BpfMap:
        """As `SteerObject.map`."""
        return self.object.map(name)

    def switch(self, features: Iterable[str], entries: dict[str, int] | None = None) -> None:
        """It never has others."""
        asked = ", ".join(sorted(features))
        raise ValueError(f"it was not loaded with {asked}, and maps of {entries or 'any size'}")

    def put(self, name: str, key: bytes, value: bytes) -> None:
        """One entry of one map."""
        with closing(self.map(name)) as it:
            it.update(key, value)

    def claim(self, address: str, port: int) -> None:
        """Take what is for a port over TCP."""
        self.put("claims", octets_of(address) + struct.pack("!HBB", port, socket.IPPROTO_TCP, 0),
                 struct.pack("=I", 1))

    def counters(self) -> dict[str, int]:
        """Packets by reason, over all processors."""
        with closing(self.map("counters")) as counters:
            rows = [counters.lookup(struct.pack("=I", reason)) or b"" for reason in range(len(COUNTERS))]
        return {name: sum(count for count, in struct.iter_unpack("=Q", row))
                for name, row in zip(COUNTERS, rows, strict=True)}

    def close(self) -> None:
        """Unload it."""
        self._undo.close()


def octets_of(address: str) -> bytes:
    """As maps have it: IPv4 as ::ffff:a.b.c.d."""
    octets = ipaddress.ip_address(address).packed
    return octets if len(octets) == 16 else bytes(10) + b"\xff\xff" + octets
