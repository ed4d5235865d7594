"""The interface that blocking sockets go by: its event loop, in a thread of its own, and who asks it."""

import asyncio
import contextlib
import errno
import os
import socket as standard
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from types import ModuleType
from typing import Any, Self, TypeVar

from underpass.aio.factory import loop_factory
from underpass.closing import Closing
from underpass.socket.adapter import make_adapter
from underpass.socket.blocking import Socket
from underpass.socket.secure import teach_ssl

T = TypeVar("T")


def attach(interface: str, **options: Any) -> "Network":
    """Blocking sockets over an interface; `options` as for `underpass.loop_factory`. Raises OSError in one
    line.
    """
    return Network(interface, **options)


class Network(Closing):
    """What stands for the module `socket`: its functions that make sockets are the interface's.

    A context manager: leaving the block ends every connection, and detaches.
    """

    def __init__(self, interface: str, **options: Any) -> None:
        self._pid = os.getpid()
        ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._serve, args=(interface, options, ready), daemon=True,
                                        name=f"underpass {interface}")
        self._thread.start()
        self.loop: Any = ready.result()
        teach_ssl()
        self.socket = type("socket", (Socket,), {"_network": self, "__module__": "underpass.socket"})

    def _serve(self, interface: str, options: dict[str, Any], ready: Future[Any]) -> None:
        try:
            loop = loop_factory(interface, **options)()
        except BaseException as error:
            ready.set_exception(error)
            return
        loop.call_soon(ready.set_result, loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(standard, name)

    def create_connection(self, address: tuple[str, int], timeout: float | object | None = ...,
                          source_address: tuple[str, int] | None = None, *,
                          all_errors: bool = False) -> Socket:
        """As socket.create_connection."""
        return self.open(address, timeout, source_address, all_errors=all_errors)

    def open(self, address: tuple[str, int], timeout: float | object | None = ...,
             source_address: tuple[str, int] | None = None, options: Iterable[tuple[int, int, Any]] = (),
             *, all_errors: bool = False) -> Socket:
        """As `create_connection`, with options that are set before."""
        errors: list[OSError] = []
        for family, kind, proto, _, to in standard.getaddrinfo(*address, 0, standard.SOCK_STREAM):
            sock: Socket = self.socket(family, kind, proto)
            try:
                for option in options:
                    sock.setsockopt(*option)
                if timeout is None or isinstance(timeout, int | float):
                    sock.settimeout(timeout)
                if source_address:
                    sock.bind(source_address)
                sock.connect(to)
                return sock
            except OSError as error:
                sock.close()
                errors.append(error)
        if all_errors:
            raise ExceptionGroup("create_connection failed", errors)
        raise errors[0] if errors else OSError("getaddrinfo returns an empty list")

    def create_server(self, address: tuple[Any, ...], *, family: int = standard.AF_INET,
                      backlog: int | None = None, reuse_port: bool = False,
                      dualstack_ipv6: bool = False) -> Socket:
        """As socket.create_server."""
        if dualstack_ipv6 and family != standard.AF_INET6:
            raise ValueError("dualstack_ipv6 requires AF_INET6 family")
        sock: Socket = self.socket(family)
        try:
            sock.setsockopt(standard.SOL_SOCKET, standard.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(standard.SOL_SOCKET, standard.SO_REUSEPORT, 1)
            if family == standard.AF_INET6:
                sock.setsockopt(standard.IPPROTO_IPV6, standard.IPV6_V6ONLY, not dualstack_ipv6)
            sock.bind(address)
            sock.listen() if backlog is None else sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        return sock

    @contextlib.contextmanager
    def lend(self, *modules: ModuleType) -> Iterator[Self]:
        """Have modules that know nothing of Underpass find this where they have `socket`, within the block:
        http.client, socketserver, urllib3.util.connection (for requests).
        """
        before = [vars(module)["socket"] for module in modules]
        for module in modules:
            vars(module)["socket"] = self
        try:
            yield self
        finally:
            for module, it in zip(modules, before, strict=True):
                vars(module)["socket"] = it

    def adapter(self, **options: Any) -> Any:
        """An adapter of `requests`, for `session.mount("http://", ...)` and "https://"; `options` as for
        `requests.adapters.HTTPAdapter`. Other sessions stay with the kernel.
        """
        return make_adapter(self, **options)

    def close(self) -> None:
        """End every connection, and detach. May be called twice."""
        if os.getpid() == self._pid and self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()

    # -- asking the loop

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns that is called in the loop's thread."""
        async def called() -> T:
            return function()
        return self.wait(called(), None)

    def wait(self, coroutine: Coroutine[Any, Any, T], timeout: float | None) -> T:
        """What a coroutine returns in the loop. Raises TimeoutError."""
        async def limited() -> T:
            async with asyncio.timeout(timeout):
                return await coroutine

        if os.getpid() != self._pid:
            coroutine.close()
            raise RuntimeError(f"process {self._pid} has these sockets: after a fork attach anew")
        asked = limited()
        try:
            answer = asyncio.run_coroutine_threadsafe(asked, self.loop)
        except RuntimeError:
            asked.close()
            coroutine.close()
            raise OSError(errno.ENETDOWN, "the interface was detached: attach again") from None
        try:
            return answer.result()
        except TimeoutError as error:
            raise error if error.args else TimeoutError("timed out") from None
        except BaseException:
            answer.cancel()
            raise
