"""A function in a child process of its own."""

import errno
import os
from collections.abc import Callable


def in_child(act: Callable[[], object]) -> str:
    """What a function says in a child, or the error that it met."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(act())
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        except BaseException as error:          # the child must not go on as a second test run
            said = repr(error)
        os.write(writable, said.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
