"""How a program gets the event loop: one line, or none."""

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from underpass.aio.loop import StackEventLoop
from underpass.aio.reserved import Fallback, attached, late_loop, say_fallback

T = TypeVar("T")
KernelLoop = asyncio.SelectorEventLoop      # by this name it may be ours later: see launch.take_over


def loop_factory(interface: str, *, fallback: Fallback = None, limits: dict[str, int | str] | None = None,
                 say: Callable[[str], None] | None = None, late: bool = False,
                 **options: Any) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes event loops over an interface, for asyncio.run(main(), loop_factory=...) and asyncio.Runner.

    `options` go to `attach`, `limits` to the stack. Where the interface cannot be had the maker raises
    OSError in one line; with fallback="kernel" it writes that line to stderr and makes asyncio's own loop.
    `say` is told in one line which path is active. `late`: the interface is attached when a loop first
    listens or connects; until then it only has to be there.
    """
    if fallback not in (None, "kernel"):
        raise ValueError(f'fallback is None or "kernel", not {fallback!r}')

    def make() -> asyncio.AbstractEventLoop:
        try:
            if late:
                return late_loop(interface, options, fallback, limits or {}, say)
            nic = attached(interface, options)
        except OSError as error:
            if fallback is None:
                raise
            say_fallback(error)
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
    try:
        with asyncio.Runner(debug=debug, loop_factory=loop_factory(interface, **options)) as runner:
            return runner.run(main)
    except OSError:
        main.close()            # where no loop could be had: Python would warn that nobody awaited it
        raise


def install(interface: str, **options: Any) -> None:
    """Have asyncio.run and asyncio.new_event_loop make event loops over an interface; `options` as for
    `loop_factory`."""
    make = loop_factory(interface, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # policies, in 3.14

        class Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = staticmethod(make)

        asyncio.set_event_loop_policy(Policy())
