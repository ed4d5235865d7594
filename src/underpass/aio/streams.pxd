"""asyncio's streams over a StackTransport: it puts what comes into the reader's buffer by itself, and the reader's `read` is compiled.

Only where both are of asyncio's own, unchanged classes, and not in debug mode. A reader stays the object that the program has;
its class becomes one derived from it.
"""

cdef bint take_over(object protocol) except -1
cdef object reader_of(object protocol)
