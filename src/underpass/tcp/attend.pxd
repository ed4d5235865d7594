"""The second half of a step: tell applications what happened, then send what is due for every connection touched."""
from underpass.tcp.tcb cimport Tcp

# Until no connection is left to attend to; whether there was one.
cdef bint attend_all(Tcp *tcp) noexcept nogil
# Frames are free again: attend to some of the connections that waited for one.
cdef void attend_starved(Tcp *tcp) noexcept nogil
