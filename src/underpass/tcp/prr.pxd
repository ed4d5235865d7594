"""Proportional rate reduction (RFC 6937): in recovery the window shrinks with what is delivered, not at once.

    sent again or anew / delivered  =  ssthresh / what was in flight when the loss was seen

so that a flow neither falls silent for half a round trip nor bursts. Once less is in flight than ssthresh, each
octet delivered lets one out, and one segment more where the acknowledgment shows that recovery goes well
(draft-ietf-tcpm-prr-rfc6937bis: SafeACK).
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

# Recovery begins, with an acknowledgment that delivered so many octets (0: with a timer), where a window of `used` had been
# filled; what of it the acknowledgments before have emptied in this step counts as delivered: nothing has left for it yet.
cdef void prr_begin(Tcp *tcp, uint32_t conn, uint32_t used, uint32_t delivered) noexcept nogil
# Set cwnd. `safe`: SND.UNA advanced, and no further loss was seen.
cdef void prr_update(Tcp *tcp, uint32_t conn, uint32_t delivered, bint safe) noexcept nogil
# So many octets were sent.
cdef void prr_sent(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil
