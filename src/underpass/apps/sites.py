"""What is served: directories, each on its own addresses and port, by the same workers or by its own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

EVERY_ADDRESS = ("", "::")
MOST_SITES = 16                     # applications of a stack (tcp/tcb.pxd, MAX_APPS)


@dataclass(frozen=True, slots=True)
class Site:
    """A directory over HTTP on `port` of `addresses`: "" is every IPv4 address, "::" every IPv6 one.
    `access_log` names a file, or is "-" for stdout. `own_workers`: so many workers serve it and nothing
    else; 0: it shares those that the other sites leave.
    """

    directory: str
    addresses: Sequence[str] = EVERY_ADDRESS
    port: int = 80
    access_log: str | None = None
    own_workers: int = 0

    def __str__(self) -> str:
        on = ", ".join(address for address in self.addresses if address not in EVERY_ADDRESS)
        return f"{self.directory} on port {self.port}{' of ' + on if on else ''}"


def claims_of(sites: Iterable[Site]) -> list[tuple[str, int]]:
    """Every address and port."""
    return [(address, site.port) for site in sites for address in site.addresses]


def clashes(sites: Sequence[Site]) -> Iterator[tuple[int, int, str]]:
    """Sites that cannot be served together: number of the later and of the earlier, counted from 0, and the
    address and port that both ask for.
    """
    for later, one in enumerate(sites):
        for earlier, other in enumerate(sites[:later]):
            both = one.port == other.port and next(
                (address for address in one.addresses if any(overlap(address, it) for it in other.addresses)),
                None)
            if isinstance(both, str):
                yield later, earlier, f"{both or '0.0.0.0'} port {one.port}"


def overlap(one: str, other: str) -> bool:
    """Whether two addresses, of which either may stand for all, have one in common."""
    a, b = (ip_address(text or "0.0.0.0") for text in (one, other))
    return a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)
