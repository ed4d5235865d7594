"""Whether what a kernel socket is bound to comes and goes by an interface."""

import socket
from collections.abc import Collection, Iterator
from ipaddress import ip_address

DEVICE_BYTES = 16                   # IFNAMSIZ


def plain(host: str) -> str:
    """An address without its scope."""
    return host.partition("%")[0]


def device_of(sock: socket.socket) -> str | None:
    """The device that it is bound to, or "". One of an IPv6 address that a link has is bound to that link;
    None where the device is gone.
    """
    try:
        name: bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, DEVICE_BYTES)
    except OSError:
        return None
    return name.rstrip(b"\0").decode()


def is_elsewhere(sock: socket.socket, interface: str) -> bool:
    """Whether it is bound to another device; not where the interface has no name yet."""
    return interface != "" and device_of(sock) not in ("", interface)


def addresses_of(sock: socket.socket) -> Iterator[tuple[str, int]]:
    """What a listening TCP socket listens on; nothing for one of another family."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        return
    host, port = sock.getsockname()[:2]
    yield plain(host), port
    if sock.family == socket.AF_INET6 and ip_address(plain(host)).is_unspecified \
            and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        yield "0.0.0.0", port


def is_bound_among(sock: socket.socket, interface: str, addresses: Collection[str]) -> bool:
    """Whether it may connect by the interface: it is bound to nothing but that, or one of its addresses. What
    a mark is for, rules of routes and of packets, the kernel alone carries out.
    """
    if is_elsewhere(sock, interface) or sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK):
        return False
    host = plain(sock.getsockname()[0])
    return ip_address(host).is_unspecified or host in addresses


def source_towards(sock: socket.socket, address: tuple[object, ...]) -> str:
    """The address that Linux would send from; "" where it has no route."""
    with socket.socket(sock.family, socket.SOCK_DGRAM) as question:         # connecting it sends nothing
        try:
            if device := device_of(sock):
                question.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            question.connect(address)
            return plain(question.getsockname()[0])
        except OSError:
            return ""
