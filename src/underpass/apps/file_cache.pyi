class FileCache:
    """The files below `directory`, for responses over HTTP.

    entries: files kept ready. memory: octets of heads and small bodies. descriptors: large files kept open.
    small_octets: the largest body that is kept in memory. Raises OSError (ENOENT, ENOTDIR, EACCES) for a
    directory that cannot be served.
    """

    directory: str
    def __init__(
        self,
        directory: str,
        *,
        entries: int = 4096,
        memory: int = 64 << 20,
        descriptors: int = 512,
        small_octets: int = 65536,
    ) -> None: ...
    def stats(self) -> dict[str, int]:
        """Counters, and what is in use now: entries, memory_bytes, descriptors."""
    def close(self) -> None: ...
