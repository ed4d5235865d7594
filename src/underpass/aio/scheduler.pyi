import asyncio

from underpass.aio.dispatch import Dispatcher
from underpass.aio.poller import Poller

class Scheduler(asyncio.BaseEventLoop):
    """The first base of a loop whose other base is asyncio's: what of that one is called often, compiled."""

    def watch(self, dispatcher: Dispatcher, poller: Poller) -> None: ...
