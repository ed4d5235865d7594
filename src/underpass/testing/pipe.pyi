from typing import Any

from underpass.testing.conditions import Conditions

class Pipe:
    """One direction of a link under some `Conditions`; `seed` decides what befalls packets.

    Raises ValueError for conditions out of range.
    """

    conditions: Conditions
    def __init__(self, conditions: Conditions, seed: int) -> None: ...
    def set_conditions(self, conditions: Conditions) -> None:
        """Other conditions for the packets that leave from now on; what waits keeps its time of departure."""
    def change(self, **fields: Any) -> None:
        """Change some of the conditions, for the packets that leave from now on."""
    @property
    def queued_packets(self) -> int: ...
    @property
    def queued_bytes(self) -> int: ...
    @property
    def queue_byte_ns(self) -> int:
        """The queue's octets integrated over time, up to its last change: for means over any time."""
    def stats(self) -> dict[str, int]:
        """Counters by name."""
