"""Netlink's format: a header, a family's own one, and attributes that may hold attributes.

`struct nlmsghdr` and `struct nlattr` of linux/netlink.h; include/net/netlink.h has a drawing of both. All
integers are the host's.
"""

import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x01, 0x04, 0x10
NLM_F_REPLACE, NLM_F_DUMP, NLM_F_CREATE = 0x100, 0x300, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF

Attributes = dict[int, bytes]

_HEADER = struct.Struct("=IHHII")       # length with itself, type, flags, sequence number, port
_ATTRIBUTE = struct.Struct("=HH")       # length with itself, type
_ERROR = struct.Struct("=i")


class Message(NamedTuple):
    """One message. `body` is what follows its header."""

    kind: int
    flags: int
    sequence: int
    body: bytes

    @property
    def error(self) -> int:
        """The errno that an NLMSG_ERROR or NLMSG_DONE carries; 0: there is none, it acknowledges."""
        return -_ERROR.unpack_from(self.body)[0] if len(self.body) >= _ERROR.size else 0


def packed(message: Message) -> bytes:
    """The octets of a message."""
    length = _HEADER.size + len(message.body)
    return _HEADER.pack(length, message.kind, message.flags, message.sequence, 0) + message.body


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of a datagram; a truncated one ends the walk."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, at)
        if not _HEADER.size <= length <= len(datagram) - at:
            return
        yield Message(kind, flags, sequence, datagram[at + _HEADER.size:at + length])
        at += _aligned(length)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> Attributes:
    """Attributes by type; a truncated one ends the walk."""
    found: Attributes = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            break
        found[kind & NLA_TYPE_MASK] = data[at + _ATTRIBUTE.size:at + length]
        at += _aligned(length)
    return found


def nested(found: Attributes, kind: int) -> Attributes:
    """The attributes within one; none where it is missing."""
    return attributes(found.get(kind, b""))


def integer(found: Attributes, kind: int) -> int:
    """An unsigned integer of whatever size, 0 where it is missing."""
    return int.from_bytes(found.get(kind, b""), sys.byteorder)


def text(found: Attributes, kind: int) -> str | None:
    """A string that ends with a NUL; None where it is missing."""
    value = found.get(kind)
    return None if value is None else value.partition(b"\0")[0].decode(errors="surrogateescape")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
