"""What a worker does for those who ask over its control socket."""

import base64
import os
from collections.abc import Mapping
from typing import Protocol

from underpass.linux.control_socket import Answer, Command, Request, Session


class Watched(Protocol):
    """What the commands need of a `Stack`."""

    def capture_start(
        self, program: bytes = b"", *, snaplen: int = 262144, refused_only: bool = False, interface: int = 0,
        epoch_ns: int = 0, ring_bytes: int = 1 << 24,
    ) -> int: ...
    def capture_stop(self) -> None: ...
    def trace_start(
        self, remote: str | None = None, *, remote_port: int = 0, local_port: int = 0,
        ring_bytes: int = 1 << 22,
    ) -> int: ...
    def trace_stop(self) -> None: ...


def commands(stack: Watched, interface: str) -> Mapping[str, Command]:
    """The commands of one worker, by name.

    "worker" says which it is. "capture" has it copy packets into a ring, whose descriptor comes with the
    answer, until the connection ends: `program` is the filter in base64, the rest as for
    `Stack.capture_start`. "trace" does the same for what one connection does: see `Stack.trace_start`.
    """
    def worker(session: Session, request: Request) -> Answer:
        return {"pid": os.getpid(), "interface": interface}, ()

    def capture(session: Session, request: Request) -> Answer:
        arguments = {name: value for name, value in request.items() if name not in ("do", "program")}
        memfd = stack.capture_start(base64.b64decode(request.get("program", ""), validate=True), **arguments)
        session.undo.callback(stack.capture_stop)
        return {"pid": os.getpid(), "interface": interface}, (memfd,)

    def trace(session: Session, request: Request) -> Answer:
        memfd = stack.trace_start(**{name: value for name, value in request.items() if name != "do"})
        session.undo.callback(stack.trace_stop)
        return {"pid": os.getpid(), "interface": interface}, (memfd,)

    return {"worker": worker, "capture": capture, "trace": trace}
