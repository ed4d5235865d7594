def reason_names() -> tuple[str, ...]:
    """The name of every reason why a packet is refused; its number is the index."""
