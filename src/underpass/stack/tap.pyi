from underpass.link.spool import SpoolMemory

TURNED_AWAY: tuple[str, ...]

class PacketTap:
    """A tap, and what it needs; made by `Stack.capture_start`."""

    memory: SpoolMemory
