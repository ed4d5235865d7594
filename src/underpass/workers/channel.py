"""What supervisor and worker say to each other: JSON objects over a pair of sockets, descriptors beside them.

    supervisor -> worker    start (the plan, with every descriptor), go, drain, suspend, answer (to a number),
                            queue (one more, with its socket), steering: how the device spreads packets,
                            mac, mtu, addresses, routes, neighbour: what Linux knows
    worker -> supervisor    warm, ready (with what outlives it), suspended, failed, unconfined (why),
                            draining, ended (with counters), serves (that queue), keeps (its connections can
                            pass to another process), settled (it has begun to do what it is there for),
                            claim, leave, release (an address and port), wait (till that can be): these four
                            are answered,
                            wanted (neighbours to resolve or to probe), using (neighbours in use)

A worker runs the code that faces the network: what it says is held to a length and a form, and is never more
than a hint about neighbours.
"""

import array
import errno
import json
import os
import socket
from collections.abc import Iterable
from typing import Any

MESSAGE_BYTES = 1 << 17
DESCRIPTORS = 253                   # SCM_MAX_FD
PROTOCOL = 2                        # of plans and messages: a supervisor takes over workers of its own

Message = dict[str, Any]


class Channel:
    """One end. Whole messages or none: SOCK_SEQPACKET."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._prepare()
        self.malformed = 0          # messages that were thrown away
        self.unsent = 0             # the other did not take them: its queue is full, or it is gone

    def _prepare(self) -> None:
        self._end.setblocking(False)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MESSAGE_BYTES)

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """Ours, and the other's socket, to be inherited."""
        ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), other

    def fileno(self) -> int:
        """To be polled for reading."""
        return self._end.fileno()

    def send(self, message: Message, descriptors: Iterable[int] = ()) -> bool:
        """Whether the other's queue took it. Raises ValueError for what is too long."""
        octets = json.dumps(message, separators=(",", ":")).encode()
        if len(octets) > MESSAGE_BYTES:
            raise ValueError(f"a message of {len(octets)} bytes is longer than {MESSAGE_BYTES}")
        beside = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, beside)] if beside else []
        try:
            self._end.sendmsg([octets], ancillary, socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EPIPE, errno.ECONNRESET, errno.ENOBUFS, errno.EBADF,
                                   errno.ENOTSOCK):
                raise
            self.unsent += 1
            return False
        return True

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with its descriptors; None: nothing is there now. Raises EOFError once the
        other is gone.
        """
        try:
            octets, ancillary, flags, _ = self._end.recvmsg(
                MESSAGE_BYTES, socket.CMSG_SPACE(4 * DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            raise EOFError from None
        descriptors = _descriptors(ancillary)
        if not octets and not descriptors:
            raise EOFError
        message = None if flags & socket.MSG_TRUNC else _parsed(octets)
        if message is None:
            self.malformed += 1
            for descriptor in descriptors:
                os.close(descriptor)
            return {}, []
        return message, descriptors

    def become(self, end: socket.socket) -> None:
        """Go on over another socket, which is ours from now on, under the same descriptor."""
        os.dup2(end.fileno(), self._end.fileno(), inheritable=False)
        end.close()
        self._prepare()

    def fall_silent(self) -> None:
        """The other is gone: the descriptor is never readable again, until `become`."""
        quiet = os.eventfd(0, os.EFD_CLOEXEC)
        os.dup2(quiet, self._end.fileno(), inheritable=False)
        os.close(quiet)

    def close(self) -> None:
        """May be called twice."""
        self._end.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) // found.itemsize * found.itemsize])
    return found.tolist()


def _parsed(octets: bytes) -> Message | None:
    try:
        message = json.loads(octets)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
