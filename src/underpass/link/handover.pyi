from collections.abc import Sequence

from underpass.link.link import LinkBase

class HandoverArea:
    """Rings between so many workers, or existing ones by their memfd, which stays the caller's.

    Raises OSError where memory is refused, ValueError for numbers and memfds that do not fit.
    """

    memfd: int
    workers: int
    bytes: int
    def __init__(self, workers: int, memfd: int = -1) -> None: ...
    def clear(self, worker: int) -> None:
        """Empty the rings to and from a worker that does not run."""

class HandoverLink(LinkBase):
    """Worker `worker`'s link: `inner`, and what comes from others. `eventfds` wake the workers, by number."""

    inner: LinkBase
    def __init__(self, inner: LinkBase, area: HandoverArea, worker: int, eventfds: Sequence[int]) -> None: ...
    def follow_inner(self) -> None:
        """The inner link has got another queue: wait for what comes there, too."""
    @property
    def handed_over(self) -> dict[str, int]:
        """Packets that others gave us (`taken`), that we gave (`given`), and that found no room (`lost`)."""
