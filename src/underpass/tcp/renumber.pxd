"""Our addresses change while connections are open (RFC 1122 3.2.1.3: nothing is sent from an address that is not ours).

A connection whose address went stands still: it has no way to send, so that each try ends as one for which the next hop is
not known. Its timers go on, and end it in the end. If the address comes back before, it goes on where it stood, as Linux's
own do.
"""
from underpass.tcp.tcb cimport Tcp

# Look at all connections: for the control plane, once the network knows the new addresses.
cdef void renumber(Tcp *tcp) noexcept nogil
