STATES: tuple[str, ...]
PHASES: tuple[str, ...]
