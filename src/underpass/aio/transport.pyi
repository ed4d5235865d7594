import asyncio
from typing import Any

from underpass.aio.dispatch import Dispatcher, Endpoint

class Facade(asyncio.Transport): ...

class StackTransport(Endpoint, asyncio.Transport):
    """An asyncio.Transport over a connection of the stack, which it holds until it is closed.

    abort() resets the connection where written octets are thrown away; else it is an orderly close, as with
    a kernel socket.
    """

    def __init__(
        self, dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop, conn: int,
        protocol: asyncio.BaseProtocol, *, waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None, server: Any = None, holder: Any = None,
        mapped: bool = False,
    ) -> None: ...
    def made(self) -> None: ...
    def shut(self, how: int) -> None: ...
    def tell(self, message: str, error: BaseException) -> None: ...
    def get_write_buffer_limits(self) -> tuple[int, int]: ...
