"""What sockets of the stack have alike, those that wait and those that do not: flags, and the calls that are
another way to receive or send.
"""

import errno
import socket
from typing import Any, Protocol

RECEIVING = socket.MSG_PEEK | socket.MSG_WAITALL | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
SENDING = socket.MSG_NOSIGNAL | socket.MSG_MORE | socket.MSG_DONTWAIT
FLAGS = ("MSG_PEEK", "MSG_WAITALL", "MSG_DONTWAIT", "MSG_NOSIGNAL", "MSG_MORE")


def check_flags(flags: int, known: int) -> None:
    """Raises OSError for others than those known."""
    if flags & ~known:
        names = ", ".join(name for name in FLAGS if getattr(socket, name) & known)
        raise OSError(errno.EOPNOTSUPP, f"flags {flags:#x}: a socket of the stack has {names}")


def scattered(octets: bytes, rooms: list[memoryview]) -> int:
    """Put them into buffers; how many they are."""
    done = 0
    for room in rooms:
        part = octets[done:done + room.nbytes]
        room[:len(part)] = part
        done += len(part)
    return done


class Connected(Protocol):
    """What receives and sends."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes: ...
    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int: ...
    def send(self, data: Any, flags: int = 0, /) -> int: ...


class MessageCalls:
    """Calls that datagrams need, on a connection: no address is told or taken, and nothing goes beside the
    octets.
    """

    __slots__ = ()

    def recvfrom(self: Connected, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """As recv."""
        return self.recv(bufsize, flags), None

    def recvfrom_into(self: Connected, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """As recv_into."""
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self: Connected, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Any:
        """As recv."""
        return self.recv(bufsize, flags), [], 0, None

    def recvmsg_into(self: Connected, buffers: Any, ancbufsize: int = 0, flags: int = 0) -> Any:
        """As recv, into buffers."""
        rooms = [memoryview(buffer).cast("B") for buffer in buffers]
        return scattered(self.recv(sum(room.nbytes for room in rooms), flags), rooms), [], 0, None

    def sendto(self: Connected, data: Any, *arguments: Any) -> int:
        """As send: a connection has its address already, and takes no other."""
        return self.send(data, arguments[0] if len(arguments) > 1 else 0)

    def sendmsg(self: Connected, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """As send, of several parts."""
        if list(ancdata):
            raise OSError(errno.EOPNOTSUPP, "TCP of the stack has no ancillary data: leave it out")
        return self.send(b"".join(memoryview(buffer).cast("B") for buffer in buffers), flags)
