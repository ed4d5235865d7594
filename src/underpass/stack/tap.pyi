TURNED_AWAY: tuple[str, ...]

class PacketTap:
    """Owns a tap's memory; made by `Stack.capture_start`."""

    memfd: int
