"""What happens while a command runs on: an event a line, as text for people or as JSON for programs.

    say = Log("json")
    say("worker 1 serves again, as process 812", Event.WORKER_SERVES, worker=1, pid=812)

Text is the message alone: a service manager stamps it; what is of level "debug" is left out. As JSON each
line is an object: `time` (UTC, RFC 3339), `level`, `event`, `message`, and the event's fields, whose names do
not change. docs/operator.md lists them all.
"""

import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, TextIO

FORMATS = ("text", "json")
GRAVITY = ("debug", "info", "warning", "error")


class Event(StrEnum):
    """What can happen; the value is its name in the log."""

    NOTE = "note"
    # a command
    STARTED = "started"
    SERVING = "serving"
    RELOAD = "reload"
    DRAIN = "drain"
    ENDED = "ended"
    FAILED = "failed"
    # a worker
    WORKER_DIED = "worker_died"
    WORKER_SERVES = "worker_serves"
    WORKER_UNCONFINED = "worker_unconfined"
    WORKER_DRAINED = "worker_drained"
    WORKER_CUT_SHORT = "worker_cut_short"
    LISTENER_GONE = "listener_gone"
    SUCCESSOR_DIED = "successor_died"
    WORKER_GONE = "worker_gone"
    SUPERVISOR_GONE = "supervisor_gone"
    SUPERVISOR_CAME = "supervisor_came"
    SUPERVISOR_NOT_RENEWED = "supervisor_not_renewed"
    # queues
    QUEUES_CHANGED = "queues_changed"
    QUEUE_SERVED = "queue_served"
    QUEUE_REFUSED = "queue_refused"
    PROGRAM_NOT_RENEWED = "program_not_renewed"
    FEATURE_REFUSED = "feature_refused"
    # what Linux says of the interface
    LINK_UP = "link_up"
    LINK_DOWN = "link_down"
    MTU_CHANGED = "mtu_changed"
    ADDRESSES_CHANGED = "addresses_changed"
    NETLINK_OVERRUN = "netlink_overrun"
    CLAIM = "claim"
    UNCLAIM = "unclaim"
    CLAIM_REFUSED = "claim_refused"
    # looking on
    LISTENING = "listening"
    CAPTURE_BEGAN = "capture_began"
    CAPTURE_ENDED = "capture_ended"
    CAPTURE_COUNTS = "capture_counts"


LEVELS = {
    **dict.fromkeys((Event.CLAIM, Event.UNCLAIM), "debug"),
    **dict.fromkeys((
        Event.WORKER_DIED, Event.WORKER_UNCONFINED, Event.WORKER_DRAINED, Event.WORKER_CUT_SHORT,
        Event.LISTENER_GONE, Event.SUCCESSOR_DIED, Event.WORKER_GONE, Event.SUPERVISOR_GONE,
        Event.SUPERVISOR_NOT_RENEWED, Event.QUEUE_REFUSED, Event.PROGRAM_NOT_RENEWED, Event.FEATURE_REFUSED,
        Event.LINK_DOWN, Event.NETLINK_OVERRUN, Event.CLAIM_REFUSED), "warning"),
    Event.FAILED: "error",
}


class Say(Protocol):
    """Whom one tells what happens: the line for people, which event it is, and its fields."""

    def __call__(self, text: str, event: Event = Event.NOTE, /, **fields: object) -> None: ...


class Log:
    """Writes events to `stream` (None: stderr, as it is at the time). Raises ValueError for another format.
    `least`: what is less grave is left out; "info" for text, and nothing for JSON.

    Where they cannot be written, the disk is full or the reader is gone, they are counted in `lost`: a
    service does not end for that.
    """

    def __init__(self, form: str = "text", stream: TextIO | None = None,
                 now: Callable[[], float] = time.time, least: str = "") -> None:
        if form not in FORMATS:
            raise ValueError(f"a log is {' or '.join(FORMATS)}, not {form!r}")
        self.form, self._stream, self._now = form, stream, now
        self._least = GRAVITY.index(least or ("info" if form == "text" else "debug"))
        self.lost = 0

    def __call__(self, text: str, event: Event = Event.NOTE, /, **fields: object) -> None:
        """Write one event."""
        if GRAVITY.index(level(event)) < self._least:
            return
        line = " ".join(text.split()) if self.form == "text" else self._json(text, event, fields)
        try:
            write_line(line, self._stream or sys.stderr)
        except (OSError, ValueError):               # ValueError: the stream is closed
            self.lost += 1

    def _json(self, text: str, event: Event, fields: dict[str, object]) -> str:
        return json.dumps({"time": stamp(self._now()), "level": level(event), "event": event, "message": text,
                           **fields}, default=str)


def write_line(line: str, stream: TextIO) -> None:
    """In one piece, also with PYTHONUNBUFFERED: several processes write into one log."""
    print(f"{line}\n", end="", file=stream, flush=True)


def level(event: Event) -> str:
    """How grave it is: debug, info, warning or error."""
    return LEVELS.get(event, "info")


def stamp(seconds: float) -> str:
    """2026-11-28T15:57:01.123Z."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03}Z"


def silent(_text: str, _event: Event = Event.NOTE, /, **_fields: object) -> None:
    """For those whom nobody listens to."""
