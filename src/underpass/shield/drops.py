"""Samples of what the shield drops, as the XDP program keeps them: `struct sample` of xdp/contract.h."""

import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

from underpass.xdp.bpf_map import BpfMap
from underpass.xdp.steer_object import COUNTERS

FRAME_OCTETS = 256
PLACE = struct.Struct(f"=QQIIBBB5x{FRAME_OCTETS}sQ")


@dataclass(frozen=True, slots=True)
class Drop:
    """A packet that was dropped, or in a dry run would have been: when, for what reason, in which section of
    the policy, how long it was, and the first 256 octets of it.
    """

    at_ns: int                          # since 1970
    reason: str
    section: str
    dry_run: bool
    octets: int
    frame: bytes


class Drops:
    """Reads the samples in the order of their times, each once. `samples` is the map."""

    def __init__(self, samples: BpfMap, sections: Iterable[str]) -> None:
        self._samples, self._sections = samples, list(sections)
        self._seen: dict[int, int] = {}         # processor -> the number of its last one

    def read(self) -> list[Drop]:
        """Those that came since the last call; of more than 128 on a processor the last ones."""
        since_1970 = time.time_ns() - time.monotonic_ns()
        found: list[tuple[int, int, Drop]] = []
        for place in range(self._samples.max_entries):
            octets = self._samples.lookup(place.to_bytes(4, "little")) or b""
            for processor, it in enumerate(PLACE.iter_unpack(octets)):
                number, time_ns, size, kept, reason, section, dry_run, frame, again = it
                if number != again or number <= self._seen.get(processor, 0):
                    continue            # never used, being written this very moment, or told of
                found.append((processor, number, Drop(
                    time_ns + since_1970, COUNTERS[reason], self._name_of(section), bool(dry_run), size,
                    frame[:kept])))
        for processor, number, _ in found:
            self._seen[processor] = max(number, self._seen.get(processor, 0))
        return sorted((it for *_, it in found), key=lambda it: it.at_ns)

    def _name_of(self, section: int) -> str:
        return self._sections[section] if section < len(self._sections) else str(section)
