"""Generic netlink by hand: one question with one attribute, one answer."""

import socket
import struct
import sys

NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 0x10, 3, 1, 2
NLM_F_REQUEST, NLMSG_ERROR = 1, 2
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF
ANSWER_BYTES = 1 << 16


def ask(family: str, command: int, kind: int, value: bytes) -> dict[int, bytes] | None:
    """The attributes of a family's answer to a command with one attribute, or None: there is no such family
    here, or it refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC) as asked:
        asked.bind((0, 0))
        name = family.encode() + b"\0"
        found = _ask(asked, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, name)
        if found is None:
            return None
        return _ask(asked, integer(found, CTRL_ATTR_FAMILY_ID), command, kind, value)


def _ask(asked: socket.socket, family: int, command: int, kind: int, value: bytes) -> dict[int, bytes] | None:
    body = struct.pack("=BBH", command, 1, 0) + attribute(kind, value)
    asked.send(struct.pack("=IHHII", 16 + len(body), family, NLM_F_REQUEST, 1, 0) + body)
    answer = asked.recv(ANSWER_BYTES)
    length, answered = struct.unpack_from("=IH", answer)
    if answered == NLMSG_ERROR:
        return None
    return attributes(answer[20:length])


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by kind; a truncated one ends the walk."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if not 4 <= length <= len(data) - at:
            break
        found[kind & NLA_TYPE_MASK] = data[at + 4:at + length]
        at += (length + 3) & ~3
    return found


def integer(found: dict[int, bytes], kind: int) -> int:
    """An unsigned integer of whatever size, 0 where it is missing."""
    return int.from_bytes(found.get(kind, b""), sys.byteorder)
