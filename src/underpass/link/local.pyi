from underpass.link.link import LinkBase

class LocalLink(LinkBase):
    """A link over `inner` on which packets to our own MAC address come back: to one process."""

    inner: LinkBase
    def __init__(self, inner: LinkBase) -> None: ...
    @property
    def local(self) -> dict[str, int]:
        """Packets that came back (`returned`), and those for which there was no room (`lost`)."""
