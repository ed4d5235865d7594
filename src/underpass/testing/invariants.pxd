"""What holds of a stack after each of its turns, whatever arrived and whatever was called."""
from underpass.tcp.tcb cimport Tcp

# What is broken, and of which connection (or NO_CONN); NULL: nothing. Visits every frame and connection block.
cdef const char *broken_invariant(Tcp *tcp, unsigned int *conn) noexcept nogil
