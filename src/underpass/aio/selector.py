"""The selector of the event loop: the standard one, whose waiting the stack does."""

import select
import selectors
from collections.abc import Callable

from underpass.aio.dispatch import Dispatcher
from underpass.aio.poller import Poller


class StackSelector(selectors.EpollSelector):
    """An EpollSelector whose `select` turns the stack, once there is one, and sleeps until something wakes
    it. `before_sleep` is called where it would sleep and there is none yet.
    """

    def __init__(self, before_sleep: Callable[[], None]) -> None:
        super().__init__()
        self._before_sleep = before_sleep
        self.poller: Poller | None = None

    def turn(self, dispatcher: Dispatcher, control_fds: tuple[int, int],
             control: Callable[[bool, bool], float]) -> Poller:
        """From now on turn this stack."""
        self.poller = Poller(dispatcher, self.fileno(), control_fds, control)
        return self.poller

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Descriptors that are ready; none also where only connections have something to tell."""
        if self.poller is None and timeout != 0:
            self._before_sleep()
        if self.poller is None:
            return super().select(timeout)
        return self.keys_of(self.poller.wait(timeout) or [])

    def refuse(self, why: str) -> None:
        """After a fork: say why it turns nothing, and have an epoll of its own. The other one is the parent's
        as well, and what is unregistered there no longer serves the parent.
        """
        if self.poller is not None:
            self.poller.refuse(why)
        self._selector = select.epoll()

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
