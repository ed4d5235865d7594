"""The control work of one worker, between its turns: follow Linux, have neighbours resolved, keep claims."""

import errno
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from underpass.linux.changes import Changes
from underpass.linux.claim_table import ClaimTable, Steering
from underpass.linux.mirror import REFRESH_SECONDS, Controlled, Mirror
from underpass.log import Say, silent

PUBLISH_SECONDS = 0.5                   # how often Linux's counters are copied to where others can read them
LOOK_SECONDS = 0.01                     # how often a busy worker looks whether Linux's tables changed


class Worker(Controlled, Protocol):
    """What the control work needs of a `Stack`, or of several. `publish` puts what XDP has counted where
    others can read it, beside what Linux has counted for the sockets.
    """

    def publish(self, xdp: dict[str, int]) -> None: ...
    def connections(self) -> list[dict[str, int | str]]: ...


class Program(Steering, Protocol):
    """What it needs of the XDP program."""

    def set_mac(self, mac: bytes) -> None: ...
    def set_local_addresses(self, addresses: Iterable[str]) -> None: ...
    def counters(self) -> dict[str, int]: ...
    def renew(self) -> None: ...


class Announcing(Protocol):
    """What it needs of whoever announces how large segments may be."""

    def set_mtu(self, mtu: int) -> None: ...


class Control:
    """Stands between mirror and stack: what Linux says goes to the stack, the XDP program and the claims."""

    def __init__(self, stack: Worker, mirror: Mirror, program: Program, claims: ClaimTable,
                 say: Say = silent, *, admission: Announcing | None = None) -> None:
        self._stack, self._mirror, self._program, self._claims = stack, mirror, program, claims
        self._changes = Changes(mirror, say)
        self._admission = admission
        self._mtu_max = mirror.link.mtu     # the frames and the XDP program were made for it
        self._look_at = self._publish_at = 0.0
        self.refresh_at = time.monotonic() + REFRESH_SECONDS
        self._lingering: list[tuple[str, int]] = []
        self.set_neighbour, self.wanted, self.neighbours = stack.set_neighbour, stack.wanted, stack.neighbours
        self.set_routes = stack.set_routes
        mirror.apply(self)

    def set_mac(self, mac: bytes) -> None:
        """Our station address, from the next segment on."""
        self._program.set_mac(mac)
        self._stack.set_mac(mac)

    def set_mtu(self, mtu: int) -> None:
        """The interface's MTU, as far as the frames are large enough for it."""
        self._stack.set_mtu(min(mtu, self._mtu_max))
        if self._admission is not None:
            self._admission.set_mtu(min(mtu, self._mtu_max))

    def set_addresses(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Our addresses: claims on all of them follow, and connections may come from them."""
        rows = list(addresses)
        self._stack.set_addresses(rows)
        texts = [address for address, _ in rows]
        self._program.set_local_addresses(texts)
        self._claims.follow(texts)

    def release_later(self, address: tuple[str, int]) -> None:
        """Give a claim back once no connection to the port is left: before, the kernel would reset those."""
        self._lingering.append(address)

    def serve(self, changed: bool) -> bool:
        """Do what is due; `changed`: the mirror's descriptor is readable. Returns whether anything was due.

        Raises OSError ENODEV when the interface has been removed.
        """
        now, worked = time.monotonic(), changed
        if now >= self._publish_at:
            self._publish_at = now + PUBLISH_SECONDS
            self._publish()
        if changed or now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            if self._mirror.update(self):
                self._changes.look()
            if self._mirror.gone:
                raise OSError(errno.ENODEV, f"interface {self._mirror.link.name} was removed")
            if self._mirror.came_up():
                self._program.renew()
        worked |= self._mirror.serve_wanted(self)
        if now >= self.refresh_at:
            self.refresh_at = now + REFRESH_SECONDS
            self._mirror.refresh(self)
            self._let_go()
            worked = True
        return worked

    def _publish(self) -> None:
        """Copy Linux's counters for those who look; that they cannot be read is no reason to stop."""
        with suppress(OSError):
            self._stack.publish(self._program.counters())

    def _let_go(self) -> None:
        """Release the claims that were given back and whose connections have ended."""
        if not self._lingering:
            return
        for address in unused(self._lingering, self._stack.connections()):
            self._lingering.remove(address)
            self._claims.release(*address)


def unused(lingering: Iterable[tuple[str, int]],
           rows: Iterable[Mapping[str, int | str]]) -> list[tuple[str, int]]:
    """Those claims to whose port no connection is open any more."""
    in_use = {row["local_port"] for row in rows if row["state"] not in ("LISTEN", "TIME-WAIT")}
    return [it for it in lingering if it[1] not in in_use]
