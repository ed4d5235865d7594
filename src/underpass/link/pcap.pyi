from os import PathLike

from underpass.link.link import LinkBase

class PcapLink(LinkBase):
    """A link over `inner` that writes every packet, both ways, to a pcapng file at `path`.

    Timestamps are `now_ns + epoch_ns`, so `epoch_ns` is the wall clock's time at 0 of the caller's clock. The
    file is complete after `close` or `flush`. Raises OSError where the file cannot be created.
    """

    inner: LinkBase
    def __init__(self, inner: LinkBase, path: str | PathLike[str], epoch_ns: int = 0) -> None: ...
    def flush(self) -> None:
        """Write what was gathered."""
    @property
    def lost(self) -> int:
        """Packets that passed but could not be written: the disk is full or failed."""
