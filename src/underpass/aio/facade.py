"""What a transport shows of its connection: an object with a socket's questions and settings."""

import socket
import sys
from typing import Any, Protocol

TELLS_WHO = sys.version_info >= (3, 13)     # a Server counts its transports by name since then


class Held(Protocol):
    """What it needs of an endpoint."""

    family: int

    def getsockname(self) -> tuple[Any, ...]: ...
    def getpeername(self) -> tuple[Any, ...]: ...
    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes: ...
    def setsockopt(self, level: int, option: int, value: int | bytes | str) -> None: ...
    def info(self) -> dict[str, Any]: ...
    def shut(self, how: int) -> None: ...


class StackSocket:
    """What get_extra_info("socket") gives, in the manner of `asyncio.trsock.TransportSocket`."""

    __slots__ = ("_endpoint",)
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, endpoint: Held) -> None:
        self._endpoint = endpoint

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6, after the end as well."""
        return socket.AddressFamily(self._endpoint.family)

    def __repr__(self) -> str:
        return f"<StackSocket of {self._endpoint!r}>"

    def fileno(self) -> int:
        """-1: the kernel knows nothing of it."""
        return -1

    def dup(self) -> socket.socket:
        """There is no descriptor to copy."""
        raise OSError("a connection of the stack has no descriptor")

    def get_inheritable(self) -> bool:
        """No other process gets it."""
        return False

    def shutdown(self, how: int) -> None:
        """As a socket's. SHUT_WR is `write_eof` of the transport: what was written is sent before."""
        self._endpoint.shut(how)

    def getsockname(self) -> tuple[Any, ...]:
        """Our address and port."""
        return self._endpoint.getsockname()

    def getpeername(self) -> tuple[Any, ...]:
        """The peer's address and port."""
        return self._endpoint.getpeername()

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """As a socket's, for the options of docs/python.md."""
        return self._endpoint.getsockopt(level, option, buflen)

    def setsockopt(self, level: int, option: int, value: int | bytes | str) -> None:
        """As a socket's, for the options of docs/python.md."""
        self._endpoint.setsockopt(level, option, value)

    def info(self) -> dict[str, Any]:
        """What TCP_INFO tells, by name."""
        return self._endpoint.info()

    def settimeout(self, value: float | None) -> None:
        """Only 0 is possible, as for asyncio's own."""
        if value != 0:
            raise ValueError("settimeout(): only 0 timeout is allowed on transport sockets")

    def gettimeout(self) -> float:
        """It never blocks."""
        return 0

    def setblocking(self, flag: bool) -> None:
        """Only False is possible."""
        if flag:
            raise ValueError("setblocking(): transport sockets cannot be blocking")


def attached(server: Any, transport: object) -> None:
    """The server has one connection more."""
    server._attach(transport) if TELLS_WHO else server._attach()


def detached(server: Any, transport: object) -> None:
    """And one less."""
    server._detach(transport) if TELLS_WHO else server._detach()
