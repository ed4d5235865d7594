"""The peer's end of a wire: frames sent and seen as they are, beside what Linux does with them there."""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from underpass.testing.namespaces import End

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
TP_STATUS_CSUMNOTREADY = 1 << 3
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Seen:
    """A frame that came. `partial`: its checksum was left to whoever puts it on a wire, and that is said."""

    octets: bytes
    partial: bool


class Wire:
    """A packet socket on the peer's interface."""

    def __init__(self, peer: End) -> None:
        with peer.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((peer.interface, ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)

    def send(self, frames: Iterable[bytes]) -> None:
        """Put them on the wire."""
        for frame in frames:
            self._socket.send(frame)

    def receive(self, count: int, wanted: Callable[[bytes], bool]) -> list[Seen]:
        """So many frames of those that are wanted, or what came within 20 s."""
        seen: list[Seen] = []
        end = time.monotonic() + PATIENCE_S
        while len(seen) < count:
            if not select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
                break
            octets, messages, _, sender = self._socket.recvmsg(1 << 16, 64)
            if sender[2] != PACKET_OUTGOING and wanted(octets):
                seen.append(Seen(octets, _partial(messages)))
        return seen

    def close(self) -> None:
        """Look no more."""
        self._socket.close()


def _partial(messages: list[tuple[int, int, bytes]]) -> bool:
    """Whether the kernel says that the checksum is still to be filled in (struct tpacket_auxdata)."""
    return any(struct.unpack_from("=I", data)[0] & TP_STATUS_CSUMNOTREADY
               for level, kind, data in messages if (level, kind) == (SOL_PACKET, PACKET_AUXDATA))


@contextlib.contextmanager
def wire(peer: End) -> Iterator[Wire]:
    """An open one."""
    opened = Wire(peer)
    try:
        yield opened
    finally:
        opened.close()
