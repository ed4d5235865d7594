"""A socket of the rtnetlink family: requests and their answers, and events."""

import os
import socket
from collections.abc import Iterator

from underpass.closing import Closing
from underpass.linux.netlink_message import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    messages,
    packed,
)

# linux/netlink.h
SOL_NETLINK = 270
NETLINK_GET_STRICT_CHK = 12
DATAGRAM_BYTES = 1 << 18
EVENT_BYTES = 1 << 20               # of events that wait, before Linux drops some (ENOBUFS)


class NetlinkSocket(Closing):
    """One rtnetlink socket of the current network namespace. `groups`: multicast groups to be told of."""

    def __init__(self, groups: int = 0) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENT_BYTES)
        self._socket.bind((0, groups))
        self._sequence = 0
        self._interrupted = False       # the table that is read changed meanwhile

    def fileno(self) -> int:
        """The descriptor; readable when events wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket. May be called twice."""
        self._socket.close()

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._interrupted = False
        self._socket.send(packed(Message(kind, NLM_F_REQUEST | flags, self._sequence, body)))

    def _answers(self) -> Iterator[Message]:
        """Messages that answer the last request, its end left out. An error in them is raised as OSError."""
        while True:
            for message in messages(self._socket.recv(DATAGRAM_BYTES)):
                if message.sequence != self._sequence:
                    continue
                self._interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind not in (NLMSG_ERROR, NLMSG_DONE):
                    yield message
                elif message.error:
                    raise OSError(message.error, os.strerror(message.error))
                else:
                    return

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[Message]:
        """Send one request and return what answers it, the acknowledgment left out. Raises OSError."""
        self._send(kind, flags | NLM_F_ACK, body)
        return list(self._answers())

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """All objects that match; asked again when the table changed meanwhile (NLM_F_DUMP_INTR)."""
        while True:
            self._send(kind, NLM_F_DUMP, body)
            found = list(self._answers())
            if not self._interrupted:
                return found

    def receive(self) -> list[Message] | None:
        """A datagram's events, or None when none waits. Raises OSError ENOBUFS where events were lost."""
        try:
            return list(messages(self._socket.recv(DATAGRAM_BYTES, socket.MSG_DONTWAIT)))
        except BlockingIOError:
            return None
