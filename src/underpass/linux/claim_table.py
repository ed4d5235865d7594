"""What one interface's stack has claimed, in both places: held in the kernel, and taken from it by XDP."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from underpass.linux.claims import LentPort, PortClaim
from underpass.log import Event, Say, silent


class Steering(Protocol):
    """What the table needs of the XDP program."""

    def claim(self, address: str, port: int, protocol: int = 6) -> None: ...
    def unclaim(self, address: str, port: int, protocol: int = 6) -> None: ...


@dataclass(slots=True)
class _Entry:
    holder: PortClaim | LentPort
    steered: set[str]                   # addresses whose packets XDP takes
    users: int


class ClaimTable:
    """Claims of (address, port), counted: a port claimed twice is given back by the second release.

    "" or "0.0.0.0" stands for every IPv4 address of the interface, "::" for every IPv6 one, as they come
    and go. `say` is told of each.
    """

    def __init__(self, interface: str, program: Steering, say: Say = silent) -> None:
        self._interface, self._program, self._say = interface, program, say
        self._addresses: list[str] = []
        self._entries: dict[tuple[str, int], _Entry] = {}
        self.refused: list[str] = []    # addresses that came later and on which another program has the port

    @property
    def addresses(self) -> list[str]:
        """The interface's addresses."""
        return self._addresses

    def claim(self, address: str, port: int, held: bool = False) -> None:
        """Claim the port. `held`: a socket of the application's own listens on it already.

        Raises OSError: EADDRINUSE, or EADDRNOTAVAIL for an address of somebody else.
        """
        key = (canonical(address), port)
        if key in self._entries:
            self._entries[key].users += 1
            return
        if not is_wildcard(key[0]) and key[0] not in self._addresses:
            here = ", ".join(self._addresses) or "none"
            raise OSError(errno.EADDRNOTAVAIL,
                          f"{address} is no address of {self._interface}; its addresses: {here}")
        covered = self._covered(key[0])
        holder = LentPort(covered) if held else PortClaim(covered, port, self._interface)
        entry = _Entry(holder, set(), 1)
        try:
            self._steer(entry, port)
        except BaseException:
            self._withdraw(entry, port)
            raise
        self._entries[key] = entry

    def release(self, address: str, port: int) -> None:
        """Give a claim back; what was never claimed is none."""
        key = (canonical(address), port)
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.users -= 1
        if entry.users == 0:
            del self._entries[key]
            self._withdraw(entry, port)

    def follow(self, addresses: Iterable[str]) -> None:
        """The interface's addresses are now these."""
        self._addresses = list(addresses)
        before, self.refused = self.refused, []
        for (address, port), entry in self._entries.items():
            errors = entry.holder.follow(self._covered(address))
            self.refused += [str(error.strerror) for error in errors]
            self._steer(entry, port)
        for why in self.refused:
            if why not in before:
                self._say(why, Event.CLAIM_REFUSED, interface=self._interface, reason=why)

    def close(self) -> None:
        """Give everything back. May be called twice."""
        while self._entries:
            (_, port), entry = self._entries.popitem()
            self._withdraw(entry, port)

    def _covered(self, address: str) -> list[str]:
        """The interface's addresses that a claimed one stands for."""
        if not is_wildcard(address):
            return [address] if address in self._addresses else []
        version = ip_address(address).version
        return [it for it in self._addresses if ip_address(it).version == version]

    def _steer(self, entry: _Entry, port: int) -> None:
        """Have XDP take exactly what is held."""
        held = set(entry.holder.addresses)
        for address in entry.steered - held:
            self._unclaim(address, port)
            entry.steered.discard(address)
        for address in held - entry.steered:
            self._program.claim(address, port)
            entry.steered.add(address)
            self._say(f"port {port} on {address} is claimed", Event.CLAIM, interface=self._interface,
                      address=address, port=port)

    def _unclaim(self, address: str, port: int) -> None:
        self._program.unclaim(address, port)
        self._say(f"port {port} on {address} is Linux's again", Event.UNCLAIM, interface=self._interface,
                  address=address, port=port)

    def _withdraw(self, entry: _Entry, port: int) -> None:
        for address in entry.steered:
            self._unclaim(address, port)
        entry.holder.close()


def canonical(address: str) -> str:
    """The address as Linux writes it, without a scope; "" is every IPv4 address. Raises ValueError."""
    return str(ip_address(address.partition("%")[0] or "0.0.0.0"))


def is_wildcard(address: str) -> bool:
    """Whether it is 0.0.0.0 or ::."""
    return ip_address(address).is_unspecified
