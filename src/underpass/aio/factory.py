"""How a program gets the event loop: one line, or none."""

import asyncio
import errno
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from underpass.aio.loop import StackEventLoop, has_loop
from underpass.nic import attach

T = TypeVar("T")
KernelLoop = asyncio.SelectorEventLoop      # by this name it may be ours later: see launch.take_over
Fallback = Literal["kernel"] | None


def loop_factory(interface: str, *, fallback: Fallback = None, limits: dict[str, int | str] | None = None,
                 say: Callable[[str], None] | None = None,
                 **options: Any) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes event loops over an interface, for asyncio.run(main(), loop_factory=...) and asyncio.Runner.

    `options` go to `attach`, `limits` to the stack. Where the interface cannot be had the maker raises
    OSError in one line; with fallback="kernel" it writes that line to stderr and makes asyncio's own loop.
    `say` is told in one line which path is active.
    """
    if fallback not in (None, "kernel"):
        raise ValueError(f'fallback is None or "kernel", not {fallback!r}')

    def make() -> asyncio.AbstractEventLoop:
        try:
            nic = attach(interface, **options)
        except OSError as said:
            error = said
            if error.errno == errno.EBUSY and has_loop(interface):
                error = OSError(errno.EBUSY, f"{interface} has an event loop in this process already")
            if fallback is None:
                raise error from None
            print(f"underpass: TCP stays with the kernel: {error.strerror or error}", file=sys.stderr)
            return KernelLoop()
        try:
            if say is not None:
                say(f"underpass: {nic.summary()[0]}")
            return StackEventLoop(nic, limits)
        except BaseException:
            nic.close()
            raise

    return make


def run(main: Coroutine[Any, Any, T], *, interface: str, debug: bool | None = None, **options: Any) -> T:
    """As asyncio.run, over an interface; `options` as for `loop_factory`."""
    with asyncio.Runner(debug=debug, loop_factory=loop_factory(interface, **options)) as runner:
        return runner.run(main)


def install(interface: str, **options: Any) -> None:
    """Have asyncio.run and asyncio.new_event_loop make event loops over an interface; `options` as for
    `loop_factory`."""
    make = loop_factory(interface, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # policies, in 3.14

        class Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = staticmethod(make)

        asyncio.set_event_loop_policy(Policy())
