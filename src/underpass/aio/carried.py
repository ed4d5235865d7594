"""Options of a kernel socket that go over to the connections of the stack in its place."""

import functools
import socket
import time
from collections.abc import Iterator

SO_MAX_PACING_RATE = 47             # not in Python's socket module, and neither are these
IP_MTU_DISCOVER, IP_RECVERR = 10, 11
IPV6_MTU_DISCOVER, IPV6_RECVERR = 23, 25

NUMBER, LINGER, RATE, NAME = 0, 8, 8, 16        # octets of the value; 0: an int

# TCP_QUICKACK is no setting on Linux, and TCP_FASTOPEN_CONNECT would have sock_connect return before the SYN.
CARRIED = (
    *((socket.SOL_SOCKET, option, octets) for option, octets in (
        (socket.SO_KEEPALIVE, NUMBER), (socket.SO_SNDBUF, NUMBER), (socket.SO_RCVBUF, NUMBER),
        (socket.SO_LINGER, LINGER), (SO_MAX_PACING_RATE, RATE))),
    *((socket.IPPROTO_TCP, option, octets) for option, octets in (
        (socket.TCP_NODELAY, NUMBER), (socket.TCP_CORK, NUMBER), (socket.TCP_KEEPIDLE, NUMBER),
        (socket.TCP_KEEPINTVL, NUMBER), (socket.TCP_KEEPCNT, NUMBER), (socket.TCP_USER_TIMEOUT, NUMBER),
        (socket.TCP_SYNCNT, NUMBER), (socket.TCP_MAXSEG, NUMBER), (socket.TCP_LINGER2, NUMBER),
        (socket.TCP_WINDOW_CLAMP, NUMBER), (socket.TCP_NOTSENT_LOWAT, NUMBER),
        (socket.TCP_CONGESTION, NAME))),
    *((socket.IPPROTO_IP, option, NUMBER) for option in (
        socket.IP_TOS, socket.IP_TTL, IP_RECVERR, IP_MTU_DISCOVER)),
    *((socket.IPPROTO_IPV6, option, NUMBER) for option in (
        socket.IPV6_TCLASS, socket.IPV6_UNICAST_HOPS, IPV6_RECVERR, IPV6_MTU_DISCOVER)),
)
# What only a socket that listens has.
LISTENING = ((socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, NUMBER),
             (socket.IPPROTO_TCP, socket.TCP_FASTOPEN, NUMBER))
DOUBLED = {(socket.SOL_SOCKET, socket.SO_SNDBUF), (socket.SOL_SOCKET, socket.SO_RCVBUF)}

Row = tuple[int, int, int]
Option = tuple[int, int, int | bytes]
Value = int | bytes | None


def options_of(sock: socket.socket, listening: bool = False) -> Iterator[Option]:
    """The options of a kernel socket that are not as in a new one, for setsockopt of the stack."""
    rows = rows_of(sock.family, listening)
    values = values_of(sock, rows)
    usual = fresh(sock.family, listening, int(time.monotonic()))
    for (level, option, _), value, before in zip(rows, values, usual, strict=True):
        if value != before and value is not None:
            doubled = (level, option) in DOUBLED        # a kernel tells twice what was set
            yield level, option, value // 2 if doubled and isinstance(value, int) else value


@functools.cache
def rows_of(family: int, listening: bool) -> list[Row]:
    """What such a socket may have."""
    rows = CARRIED + LISTENING if listening else CARRIED
    return [row for row in rows if row[0] != socket.IPPROTO_IPV6 or family == socket.AF_INET6]


@functools.lru_cache(maxsize=4)
def fresh(family: int, listening: bool, second: int) -> list[Value]:
    """What a new one has, which an administrator changes no more often than every second."""
    with socket.socket(family) as it:
        return values_of(it, rows_of(family, listening))


def values_of(sock: socket.socket, rows: list[Row]) -> list[Value]:
    """Each an int, or so many octets; None where a socket of its kind (MPTCP) has no such option."""
    def value(level: int, option: int, octets: int) -> Value:
        try:
            return sock.getsockopt(level, option, octets) if octets else sock.getsockopt(level, option)
        except OSError:
            return None
    return [value(*row) for row in rows]
