VERSION: int

SOCKET_NAMES: tuple[str, ...]

class Arena:
    memfd: int
    bytes: int
