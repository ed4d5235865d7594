from underpass.stack.stack import Stack

def what_is_broken(stack: Stack) -> str | None:
    """A sentence that ought to be true of the stack after its turns, with the connection where it is not."""

def is_midway(stack: Stack) -> bool:
    """Whether a turn is running, or its process died in one."""
