class TapReader:
    """The ring behind a tap's memfd. Raises ValueError where it is none of this version."""

    def __init__(self, fd: int) -> None: ...
    def read(self, most_bytes: int = 1 << 20, most_packets: int = 1 << 32) -> tuple[bytes, int]:
        """Whole blocks of pcapng that came since the last call, and how many packets they are.

        Raises ValueError where the ring's content is damaged.
        """
    def counts(self) -> dict[str, int]:
        """Packets since the start: "passed", of them "matched", and of these "dropped" for want of room."""
