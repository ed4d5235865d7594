"""The selector of the event loop: the standard one, whose waiting the stack does."""

import select
import selectors
from collections.abc import Callable

from underpass.aio.dispatch import Dispatcher
from underpass.aio.poller import Poller


class StackSelector(selectors.EpollSelector):
    """An EpollSelector whose `select` turns the stack, and sleeps until something wakes it."""

    def __init__(self, dispatcher: Dispatcher, control_fds: tuple[int, int],
                 control: Callable[[bool, bool], float]) -> None:
        super().__init__()
        self.poller = Poller(dispatcher, self.fileno(), control_fds, control)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Descriptors that are ready; none also where only connections have something to tell."""
        return self.keys_of(self.poller.wait(timeout) or [])

    def keys_of(self, found: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        """What `select` makes of descriptors and their events."""
        rows = []
        for descriptor, events in found:
            key = self.get_map().get(descriptor)
            if key is not None:
                mask = (selectors.EVENT_READ if events & ~select.EPOLLOUT else 0) \
                    | (selectors.EVENT_WRITE if events & ~select.EPOLLIN else 0)
                rows.append((key, mask & key.events))
        return rows
