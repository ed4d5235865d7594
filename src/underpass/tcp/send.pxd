"""The send queue, and the decision what of it may go out now (RFC 9293 3.7.4, 3.8.6; RFC 5681; RFC 6675 5)."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.output cimport Sent
from underpass.tcp.tcb cimport Tcp

# Room for the application at the queue's end: see tcp_reserve in tcp/api.pxd.
cdef uint32_t send_reserve(Tcp *tcp, uint32_t conn, uint8_t **at) noexcept nogil
cdef void send_commit(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil
# Send what the windows, Nagle and the congestion control allow: lost segments first, then new ones, then FIN; at last an
# acknowledgment where one is still due.
cdef void send_output(Tcp *tcp, uint32_t conn) noexcept nogil
# The retransmission timer fired while nothing was in flight: send what the window takes, however little. False: it takes nothing.
cdef bint send_override(Tcp *tcp, uint32_t conn) noexcept nogil
# It takes nothing: ask the peer whether that is so still (RFC 9293 3.8.6.1).
cdef void send_window_probe(Tcp *tcp, uint32_t conn) noexcept nogil
# Send a frame again, or the first one never sent where the peer's window has room for it, whatever the congestion
# window says.
cdef Sent send_again(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil
cdef bint send_one_new(Tcp *tcp, uint32_t conn) noexcept nogil
# Send the first of those that are lost (RFC 6298 5.4), whatever the congestion window says.
cdef void send_first_lost(Tcp *tcp, uint32_t conn) noexcept nogil
# Give back every frame of the send queue.
cdef void send_drop_queue(Tcp *tcp, uint32_t conn) noexcept nogil
