"""What all tests need of the process that runs them."""

import signal
from typing import Any

SHORT = 200                             # octets that are shown whole

# A shell that starts the tests in the background has them ignore the interrupt signal, and so would every
# process that they start and interrupt: SIG_IGN is inherited, a handler is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Of long octets say where they part: all of them would bury the name of the test, and say less."""
    if op != "==" or not all(isinstance(it, (bytes, bytearray)) for it in (left, right)):
        return None
    if max(len(left), len(right)) <= SHORT:
        return None
    alike = next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other),
                 min(len(left), len(right)))
    after = [bytes(it[alike:alike + 16]) for it in (left, right)]
    return [f"{len(left)} octets == {len(right)} octets",
            f"alike are the first {alike}; then come {after[0]!r} and {after[1]!r}"]
