class Frames:
    memfd: int
    def __init__(
        self, count: int, chunk_bytes: int = 2048, reserve: int | None = None, memfd: int = -1,
        resume: bool = False,
    ) -> None: ...  # fmt: skip
    @property
    def count(self) -> int: ...
    @property
    def free(self) -> int: ...
    @property
    def lent(self) -> int: ...
    @property
    def chunk_bytes(self) -> int: ...
