from underpass.stack.stack import Stack

def spoil(stack: Stack, conn: int, what: str) -> None:
    """Make one thing wrong; called again it is right again, where that can be."""
