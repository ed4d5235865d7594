"""The descriptors of a worker, by what they are: handed over beside a list of their names."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

Named = list[tuple[str, int]]


class Holdings:
    """Descriptors under names; several may have the same one, and keep their order.

    frames, flows, area    memory: packets, the table of flows, the hand-over rings
    services               likewise: who serves which address and port
    program NAME           the XDP attachment, its programs and maps (`XdpProgram.descriptors`)
    ports                  the lock on the source ports, where there are any
    eventfd                for each worker, its own
    socket                 AF_XDP's, in the order of the queues; then the packet socket's, where there is one
    arena, memory          what another process goes on with
    claim                  a program's sockets of the kernel, which hold its ports
    """

    def __init__(self, named: Iterable[tuple[str, int]] = ()) -> None:
        self._named: Named = list(named)

    @classmethod
    def received(cls, names: object, descriptors: Iterable[int]) -> "Holdings":
        """What came in a message. Raises ValueError where names and descriptors do not fit."""
        found = list(descriptors)
        if not isinstance(names, list) or len(names) != len(found):
            for descriptor in found:
                os.close(descriptor)
            raise ValueError(f"{len(found)} descriptors came with other names than theirs")
        return cls(zip(map(str, names), found, strict=True))

    @property
    def names(self) -> list[str]:
        """In the order of `descriptors`."""
        return [name for name, _ in self._named]

    @property
    def descriptors(self) -> list[int]:
        """All of them."""
        return [descriptor for _, descriptor in self._named]

    def one(self, name: str) -> int:
        """The one of that name; -1: there is none."""
        return next(iter(self.all(name)), -1)

    def all(self, name: str) -> list[int]:
        """All of that name."""
        return [descriptor for it, descriptor in self._named if it == name]

    def beneath(self, prefix: str) -> dict[str, int]:
        """Those whose name begins so, by the rest of it."""
        return {name[len(prefix):]: descriptor for name, descriptor in self._named if name.startswith(prefix)}

    def add(self, name: str, descriptor: int) -> None:
        """One more, at the end."""
        self._named.append((name, descriptor))

    def close(self, *names: str) -> None:
        """Close those of these names, or all."""
        kept: Named = []
        for name, descriptor in self._named:
            if names and name not in names:
                kept.append((name, descriptor))
            else:
                with suppress(OSError):
                    os.close(descriptor)
        self._named = kept

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._named)
