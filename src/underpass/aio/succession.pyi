"""Connections and listeners of an event loop that pass from one process to the next.

The process that ends hushes what is quiet, lets go of it with `part`, and says what it knew of it; the next
one, on the same arena, `inherit`s: what came by a listener waits until the program listens there again, and
is accepted then as if it had just come.
"""

from collections.abc import Callable

from underpass.aio.dispatch import Dispatcher, Endpoint

def held(dispatcher: Dispatcher) -> dict[int, Endpoint]:
    """Who holds a connection, by its number."""

def was_accepted(endpoint: Endpoint) -> bool:
    """Whether its connection came by a listener."""

def exchanged(endpoint: Endpoint) -> tuple[int, int]:
    """Octets that were taken from its connection, and that were sent on it (modulo 2**32)."""

def put_off(dispatcher: Dispatcher) -> None:
    """Accept nothing any more: what comes is for the next process."""

def is_quiet(transport: Endpoint, hushed: bool) -> bool:
    """Whether a `StackTransport` is open in both directions, with nothing to send; `hushed`: by us."""

def hush(transport: Endpoint) -> None:
    """Leave what comes from now on in the stack."""

def part(endpoint: Endpoint) -> None:
    """Let go of a connection that goes on without us."""

def end(endpoint: Endpoint, reset: bool) -> None:
    """End a connection: what is queued is still sent, or with `reset` it is not."""

def fresh(dispatcher: Dispatcher) -> list[int]:
    """Connections that have come and that nobody has accepted yet."""

def inherit(
    dispatcher: Dispatcher, left: dict[int, bytes | None], resumed: Callable[[Endpoint, bytes], None],
) -> int:  # fmt: skip
    """Take up what another process has left: its listeners, and of its connections those in `left`, with what
    it knew of them; None: nobody had accepted it. Once accepted again, `resumed` is called with who holds it
    and that. All others are reset; returns how many.
    """

def disinherit(dispatcher: Dispatcher) -> tuple[list[tuple[str, int]], int]:
    """Close the listeners on which the program has not listened again, and reset what waits for them; returns
    their addresses and ports, and how many connections that were.
    """
