"""A worker's control socket: commands from other processes, and descriptors for them.

It has no name. The worker binds it in a folder of its own, keeps a descriptor of the place, and removes it
from the disk at once: from then on the way to it leads through /proc/PID/fd, as that to the arena. So nothing
lies on disk, whatever ends the worker; no other user can take the name first or come near it, for /proc lets
in the same user and root alone; and it is reached from every network namespace, which an abstract name is
not. The peer's credentials are looked at as well.

Messages keep their bounds (SOCK_SEQPACKET): each is one JSON object, {"do": COMMAND, ...}, its answer another
one, which has "error" where it failed, and perhaps descriptors. All connections wake the worker through one
descriptor, `fileno`; each call of `serve` takes one message of each, so that nobody keeps the worker from its
packets.
"""

import array
import errno
import json
import os
import select
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from underpass.closing import Closing

NAME = "underpass-control"
MESSAGE_BYTES = 65536
CONNECTIONS = 16
ROOT = 0
DESCRIPTORS = 4                         # with one answer
ANSWER_S = 5.0                          # how long a client waits

Request = dict[str, Any]
Answer = tuple[dict[str, Any], Sequence[int]]


class Session:
    """One connection. What a command puts on `undo` happens when it ends, however it ends. One that a command
    has `taken` is not heard any more after its answer.
    """

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.taken = False
        self.undo = ExitStack()


Command = Callable[[Session, Request], Answer]


class ControlSocket:
    """The worker's end. Raises OSError where no folder can be made for it."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self.counters = dict.fromkeys(
            ("connections", "requests", "failed", "malformed", "not_allowed", "too_many"), 0)
        self._commands: dict[str, Command] = {"counters": lambda *_: (self.counters, ()), **commands}
        self._sessions: dict[int, Session] = {}
        self._undo = ExitStack()
        with ExitStack() as undo:
            self._listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            undo.callback(os.close, _bind(self._listener))
            self._spare = os.dup(self._listener.fileno())
            undo.callback(lambda: os.close(self._spare))
            self._listener.setblocking(False)
            self._listener.listen(CONNECTIONS)
            self._epoll = undo.enter_context(select.epoll())
            self._epoll.register(self._listener, select.EPOLLIN)
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Readable when `serve` has something to do."""
        return self._epoll.fileno()

    def serve(self) -> None:
        """Let in one who waits, and hear one message of each who has said something. Never waits."""
        for number, _ in self._epoll.poll(0):
            if number == self._listener.fileno():
                self._accept()
            else:
                self._hear(self._sessions[number])

    def close(self) -> None:
        """End all connections, and with them what they asked for. May be called twice."""
        for session in list(self._sessions.values()):
            self._end(session)
        self._undo.close()

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()
            return                      # else it is gone again
        if not _allowed(peer):
            self.counters["not_allowed"] += 1
            peer.close()
        elif len(self._sessions) == CONNECTIONS:
            self.counters["too_many"] += 1
            peer.close()
        else:
            self.counters["connections"] += 1
            peer.setblocking(False)
            self._sessions[peer.fileno()] = Session(peer)
            self._epoll.register(peer, select.EPOLLIN)

    def _turn_away(self) -> None:
        """No descriptor is free: with the spare one, so that who waits does not wake the worker for ever."""
        self.counters["too_many"] += 1
        os.close(self._spare)
        with suppress(OSError):
            self._listener.accept()[0].close()
        self._spare = os.dup(self._listener.fileno())

    def _hear(self, session: Session) -> None:
        try:
            octets, _, flags, _ = session.peer.recvmsg(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            octets, flags = b"", 0
        if not octets:
            self._end(session)
            return
        answer, descriptors = self._answer(session, octets, flags)
        try:
            send(session.peer, answer, descriptors)
        except OSError:                 # gone, or it does not read what it is told
            self._end(session)
            return
        if session.taken:
            self._let_go(session)

    def _answer(self, session: Session, octets: bytes, flags: int) -> Answer:
        try:
            request = parse(octets, flags)
            command = self._commands.get(request.get("do", ""))
            if command is None:
                raise ValueError(f'"do" is one of {", ".join(sorted(self._commands))}')
        except (ValueError, TypeError) as error:
            self.counters["malformed"] += 1
            return {"error": f"{error}"}, ()
        self.counters["requests"] += 1
        try:
            return command(session, request)
        except Exception as error:      # whatever a command makes of its arguments, the worker goes on
            self.counters["failed"] += 1
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return {"error": text or type(error).__name__}, ()

    def _let_go(self, session: Session) -> None:
        del self._sessions[session.peer.fileno()]
        self._epoll.unregister(session.peer)

    def _end(self, session: Session) -> None:
        self._let_go(session)
        session.peer.close()
        session.undo.close()


def _bind(listener: socket.socket) -> int:
    """Bind it to a place that is on no disk any more; returns a descriptor of that."""
    folder = tempfile.mkdtemp(prefix="underpass-")
    try:
        path = f"{folder}/{NAME}"
        listener.bind(path)
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _allowed(peer: socket.socket) -> bool:
    """Root, and whoever the worker runs as."""
    return user_of(peer) in (ROOT, os.geteuid())


def user_of(peer: socket.socket) -> int:
    """Who is at the other end, as the kernel says."""
    _, uid, _ = struct.unpack("=iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


# ---- messages

def parse(octets: bytes, flags: int) -> dict[str, Any]:
    """A message's object. Raises ValueError, which says what is wrong, for everything else."""
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise ValueError(f"a message has at most {MESSAGE_BYTES} octets, and no descriptors come with it")
    try:
        value = json.loads(octets)
    except (ValueError, RecursionError):
        raise ValueError("a message is one JSON object") from None
    if not isinstance(value, dict):
        raise ValueError("a message is one JSON object")
    return value


def send(peer: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """One message, with descriptors. Raises OSError."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    peer.sendmsg([json.dumps(message).encode()], rights)


# ---- the other end

def control_sockets(pid: int | None = None) -> Iterator[tuple[int, str]]:
    """Those of all processes that we may look at, or of one: the pid, and the path to connect to."""
    seen: set[tuple[int, int]] = set()
    there = (int(it.name) for it in Path("/proc").iterdir() if it.name.isdigit())
    for number in [pid] if pid is not None else sorted(there):
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{number}/fd"):
                with suppress(OSError):
                    if os.readlink(entry.path).endswith(f"/{NAME} (deleted)"):
                        inode = (entry.stat().st_dev, entry.stat().st_ino)
                        if inode not in seen:
                            seen.add(inode)
                            yield number, entry.path


class ControlClient(Closing):
    """A connection to a worker's control socket; a context manager. Raises OSError where nobody listens."""

    def __init__(self, path: str) -> None:
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.peer.settimeout(ANSWER_S)
            self.peer.connect(path)
        except BaseException:
            self.peer.close()
            raise

    def ask(self, do: str, most: int = DESCRIPTORS, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        """The worker's answer, with descriptors, `most` of them at most, now the caller's. Raises OSError
        where it refuses.
        """
        send(self.peer, {"do": do, **arguments})
        octets, descriptors, flags, _ = socket.recv_fds(self.peer, MESSAGE_BYTES, most,
                                                        socket.MSG_CMSG_CLOEXEC)
        try:
            if not octets:
                raise OSError(errno.ECONNRESET, "the worker ended, or lets nobody else in")
            answer = parse(octets, flags)
            if "error" in answer:
                raise OSError(errno.EPROTO, str(answer["error"]))
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return answer, descriptors

    def close(self) -> None:
        """End the connection, and with it what was asked for."""
        self.peer.close()
