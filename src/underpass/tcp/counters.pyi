TCP_COUNTERS: tuple[str, ...]
