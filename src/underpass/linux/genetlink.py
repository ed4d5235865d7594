"""Generic netlink: one question with one attribute, one answer."""

import socket
import struct

from underpass.linux.netlink_message import (
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Attributes,
    Message,
    attribute,
    attributes,
    integer,
    messages,
    packed,
)

NETLINK_GENERIC = 16
# linux/genetlink.h
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 0x10, 3, 1, 2
HEADER = struct.Struct("=BBH")          # command, version, reserved
ANSWER_BYTES = 1 << 16


def ask(family: str, command: int, kind: int, value: bytes) -> Attributes | None:
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


def _ask(asked: socket.socket, family: int, command: int, kind: int, value: bytes) -> Attributes | None:
    asked.send(packed(Message(family, NLM_F_REQUEST, 1, HEADER.pack(command, 1, 0) + attribute(kind, value))))
    answer = next(messages(asked.recv(ANSWER_BYTES)), None)
    if answer is None or answer.kind == NLMSG_ERROR:
        return None
    return attributes(answer.body[HEADER.size:])
