class Arena:
    memfd: int
    bytes: int
