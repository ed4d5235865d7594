from collections.abc import Iterable

from underpass.xdp.bpf_map import BpfMap

FEATURES: dict[str, int]
VERSION: int
COUNTERS: tuple[str, ...]
MAPS: dict[str, set[str]]

def checked_features(names: Iterable[str]) -> frozenset[str]: ...
def check_version(version: int | None) -> None: ...
def raise_memlock_limit() -> None: ...

class SteerObject:
    program_fd: int
    other_fd: int
    features: frozenset[str]
    multi_buffer: bool
    def __init__(
        self, features: Iterable[str], multi_buffer: bool, both: bool = False,
        reuse: dict[str, int] | None = None, entries: dict[str, int] | None = None,
        measured: str | None = None,
    ) -> None: ...
    def maps(self) -> dict[str, int]: ...
    def map(self, name: str) -> BpfMap: ...
    def close(self) -> None: ...
