from underpass.stack.stack import Stack

def what_is_broken(stack: Stack) -> str | None:
    """A sentence that ought to be true of the stack after its turns, with the connection where it is not."""
