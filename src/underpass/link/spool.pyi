class SpoolMemory:
    """Owns a spool's memory."""

    memfd: int
