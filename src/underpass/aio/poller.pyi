from collections.abc import Callable

from underpass.aio.dispatch import Dispatcher

class Poller:
    """Turns a stack until something happened to its connections or to the descriptors of an epoll set.

    `control(changed, asked)` is called when one of `control_fds` is readable, when the stack wants a
    neighbour, and when the time that it returned last (s, monotonic) has come.
    """

    def __init__(
        self, dispatcher: Dispatcher, epoll: int, control_fds: tuple[int, int],
        control: Callable[[bool, bool], float],
    ) -> None: ...
    def wait(self, timeout: float | None) -> list[tuple[int, int]] | None:
        """Descriptors that are ready, with their events, within so many seconds (None: any time); none also
        where only connections have something to tell, or a signal came."""
    def refuse(self, why: str) -> None:
        """Raise RuntimeError instead from now on."""
