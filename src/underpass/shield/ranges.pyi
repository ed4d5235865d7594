import mmap

from underpass.shield.prefixes import Prefixes

V4_LISTS_BYTES: int
V4_PAGE_BYTES: int
V4_RANGES_OF_PAGE: int
V6_LISTS_BYTES: int
V6_PAGE_BYTES: int
V6_RANGES_OF_PAGE: int

class Classes:
    masks: list[int]

class Ranges:
    count: int
    def __init__(self, version: int, lists: dict[int, Prefixes], classes: Classes) -> None: ...
    @property
    def is_empty(self) -> bool: ...
    def write(self, lists: mmap.mmap | bytearray, ranges: mmap.mmap | bytearray) -> None: ...
