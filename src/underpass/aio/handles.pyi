import asyncio
from collections.abc import Callable
from typing import Any

class StackHandle(asyncio.Handle):
    """What call_soon returns. It is an asyncio.Handle to isinstance()."""

    def tell(self, error: BaseException, callback: Callable[..., Any], args: tuple[Any, ...]) -> None: ...
    def details(self) -> list[str]: ...

class StackTimerHandle(StackHandle, asyncio.TimerHandle):
    """What call_later and call_at return."""
