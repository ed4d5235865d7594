"""An interface that a program's event loop attaches when it first listens or connects."""

import errno
import sys
from collections.abc import Callable
from typing import Any, Literal

from underpass.aio.dispatch import Dispatcher
from underpass.aio.loop import LeftToKernel, StackEventLoop, has_loop
from underpass.linux.ports import PortRange
from underpass.nic import Nic, NicStack, attach, present

Fallback = Literal["kernel"] | None


class Reserved:
    """To an event loop it is a `Nic`. Programs have event loops for other things as well, gunicorn's arbiter
    for one, and one process can have an interface: it is whoever serves by it.

    `options` go to `attach`. `say` is told in one line which path is active, `fallback` is as for
    `loop_factory`. Raises OSError where the interface cannot be had by anybody now.
    """

    is_awaited = False

    def __init__(self, interface: str, options: dict[str, Any], fallback: Fallback,
                 say: Callable[[str], None] | None) -> None:
        present(interface)
        self.name = interface
        self._options, self._fallback, self._say = options, fallback, say
        self.nic: Nic | None = None
        self._dispatcher: Dispatcher | None = None

    def stack(self, **limits: int | str) -> NicStack:
        """Attach it. Where that fails the program ends, with one line on stderr, or the loop stays with the
        kernel: then that is raised.
        """
        try:
            self.nic = attached(self.name, self._options)
        except OSError as error:
            if self._fallback is None:
                sys.exit(f"underpass: {error.strerror or error}")
            say_fallback(error)
            raise LeftToKernel from None
        if self._say is not None:
            self._say(f"underpass: {self.nic.summary()[0]}")
        stack = self.nic.stack(**limits)
        self._dispatcher = Dispatcher(stack)
        return stack

    @property
    def dispatcher(self) -> Dispatcher:
        """The loop's."""
        assert self._dispatcher is not None
        return self._dispatcher

    @property
    def addresses(self) -> list[str]:
        """The interface's addresses, as Linux has them now."""
        return self.nic.addresses if self.nic is not None else []

    @property
    def ports(self) -> PortRange | None:
        """Those that outgoing connections come from."""
        return self.nic.ports if self.nic is not None else None

    def close(self) -> None:
        """Detach. May be called twice."""
        if self.nic is not None:
            self.nic.close()


def attached(interface: str, options: dict[str, Any]) -> Nic:
    """As `attach`; an event loop of this process that has the interface is named."""
    try:
        return attach(interface, **options)
    except OSError as error:
        if error.errno == errno.EBUSY and has_loop(interface):
            raise OSError(errno.EBUSY, f"{interface} has an event loop in this process already") from None
        raise


def say_fallback(error: OSError) -> None:
    """Why the kernel's TCP serves."""
    print(f"underpass: TCP stays with the kernel: {error.strerror or error}", file=sys.stderr)


def late_loop(interface: str, options: dict[str, Any], fallback: Fallback, limits: dict[str, int | str],
              say: Callable[[str], None] | None) -> StackEventLoop:
    """An event loop that attaches the interface when it first listens or connects."""
    return StackEventLoop(Reserved(interface, options, fallback, say), limits)
