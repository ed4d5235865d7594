"""One turn of the loop, and when the next is due."""

from underpass.testing.peer import Wire
from underpass.testing.probe_alarm import Alarm

SECOND = 1_000_000_000


def test_a_deadline_set_in_the_callback_of_a_timer_is_kept() -> None:
    """Not only one that a packet's callback sets, after which the loop takes another turn anyway."""
    with Wire(syn_retries=1) as wire:
        alarm = Alarm(wire.stack, wire.remote.v4, 81, 5 * SECOND)
        wire.run(ms=1_000_000)
        assert alarm.late_ns is not None
        assert alarm.late_ns < SECOND // 100
