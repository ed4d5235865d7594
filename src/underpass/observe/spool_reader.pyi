class SpoolReader:
    """The ring behind a spool's memfd, a "capture" or a "trace".

    Raises ValueError where it is none of this version.
    """


    def __init__(self, fd: int, what: str = "capture") -> None: ...
    def read(self, most_bytes: int = 1 << 20, most_blocks: int = 1 << 32) -> tuple[bytes, int]:
        """Whole blocks that came since the last call, and how many they are.

        Raises ValueError where the ring's content is damaged.
        """
    def counts(self) -> dict[str, int]:
        """Since the start: "passed", of them "matched", and of these "dropped" for want of room."""
