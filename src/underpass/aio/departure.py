"""The connections of an event loop whose process ends, and what the next one is told of them."""

import asyncio
import base64
import json
import os
import time
from asyncio import sslproto
from collections.abc import Mapping
from typing import Any

from underpass.aio.dispatch import Dispatcher, Endpoint
from underpass.aio.restart import Handler
from underpass.aio.succession import end, exchanged, fresh, held, hush, is_quiet, part, put_off, was_accepted
from underpass.aio.transport import StackTransport

Left = dict[int, bytes | None]
Begun = Mapping[Endpoint, tuple[tuple[int, int], bytes]]


class AtWork(Exception):
    """The connection cannot pass on now."""


class Departure:
    """What is quiet waits for the next process; what is not has `seconds` to become so; nothing is accepted.

    `begun`: with what the connections that an earlier process has left began in this one: octets taken and
    sent, and what was known of them.
    """

    def __init__(self, dispatcher: Dispatcher, handler: Handler, begun: Begun, seconds: float) -> None:
        self._dispatcher, self._handler, self._begun = dispatcher, handler, begun
        self._until = time.monotonic() + seconds
        self._hushed: set[Endpoint] = set()
        put_off(dispatcher)

    def ask(self) -> Left | None:
        """What is left to the next process, by the connection's number; None: something is at work, and has
        time.
        """
        left: Left = {}
        at_work = 0
        for number, endpoint in held(self._dispatcher).items():
            if was_accepted(endpoint):
                try:
                    left[number] = self._state_of(endpoint)
                except AtWork:
                    at_work += 1
        return left if at_work == 0 or time.monotonic() >= self._until else None

    def let_go(self, left: Left) -> Left:
        """End what is not left, and leave the rest alone; returns all that goes on, with what nobody has
        accepted.
        """
        for number, endpoint in held(self._dispatcher).items():
            if number in left:
                part(endpoint)
            else:
                end(endpoint, was_accepted(endpoint))
        return left | dict(self._dispatcher.left)

    def come_late(self) -> Left:
        """Those that nobody has accepted."""
        return dict.fromkeys(fresh(self._dispatcher))

    def _state_of(self, endpoint: Endpoint) -> bytes | None:
        if not isinstance(endpoint, StackTransport) or not is_quiet(endpoint, endpoint in self._hushed):
            raise AtWork
        protocol, so_far = endpoint.get_protocol(), exchanged(endpoint)
        since, state = self._begun.get(endpoint, ((0, 0), None))
        if so_far != since:
            if isinstance(protocol, sslproto.SSLProtocol):
                self._end_tls(protocol)
                raise AtWork
            state = self._asked(protocol, endpoint)
        if endpoint not in self._hushed:
            self._hushed.add(endpoint)
            hush(endpoint)
        return state

    def _end_tls(self, tls: Any) -> None:
        """Its keys are this process's: closed in order, where it is idle."""
        if tls._app_transport is not None and not tls._app_transport.is_closing():
            self._asked(tls._app_protocol, tls._app_transport)
            tls._app_transport.close()

    def _asked(self, protocol: Any, transport: Any) -> bytes:
        try:
            state = self._handler.leave(protocol, transport)
            if state is not None and not isinstance(state, bytes):
                raise TypeError(f"the handler of a restart returns bytes or None, not {type(state).__name__}")
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler({
                "message": "the handler of a restart failed", "exception": error, "protocol": protocol,
                "transport": transport})
            state = None
        if state is None:
            raise AtWork
        return state


def empty() -> int:
    """A memfd for `write`."""
    return os.memfd_create("underpass-left", os.MFD_CLOEXEC)


def write(memfd: int, left: Left) -> None:
    """What is left, for the next process."""
    rows = {number: None if state is None else base64.b64encode(state).decode()
            for number, state in left.items()}
    os.ftruncate(memfd, 0)
    os.pwrite(memfd, json.dumps(rows).encode(), 0)


def read(memfd: int) -> Left:
    """What was written last; it is believed once."""
    rows = json.loads(os.pread(memfd, os.fstat(memfd).st_size, 0) or b"{}")
    os.ftruncate(memfd, 0)
    return {int(number): None if state is None else base64.b64decode(state)
            for number, state in rows.items()}
