def section_header() -> bytes:
    """The block that a file begins with."""

def interface_description(name: str = "", snaplen: int = 0, filter: str = "") -> bytes:
    """An Ethernet interface whose times are in nanoseconds; snaplen 0: no limit. The first has number 0."""

def interface_statistics(interface: int, time_ns: int, received: int, accepted: int, dropped: int) -> bytes:
    """Counts at the end: packets that passed, those the filter took, those lost for want of room."""

def received_packet(interface: int, time_ns: int, octets: bytes, original: int, comment: str = "") -> bytes:
    """A packet that came in, as far as it was kept, with its whole length."""
