"""TCP Fast Open (RFC 7413): data with the SYN, for a client that has proved its address before.

    client                                    server
    SYN, option without cookie      ->
                                    <-        SYN-ACK, cookie                    (first time)
    SYN, cookie, data               ->        served at once
                                    <-        SYN-ACK of SYN and data, answer
    ACK                             ->

The cookie is a SipHash of the client's address and of the day, so nothing is kept for it and each lives for two days
at most (4.1.2). A listener serves up to `Listener.fast_open` connections in SYN-RECEIVED (5.1); handshakes that were
reset count for a minute or two more, for else an attacker's victims would make room for him.

Both sides begin with it only where the application asks: TCP_FASTOPEN on a listener, TCP_FASTOPEN_CONNECT on a client.
"""
from libc.stdint cimport uint32_t

from underpass.tcp.receive cimport Arrival
from underpass.tcp.tcb cimport Listener, Tcp
from underpass.wire.segment cimport Segment

# ---- the server
# A SYN for a connection that was just made in SYN-RECEIVED, of a listener with Fast Open. True: its cookie is good, and it is
# ready to send and to be served.
cdef bint fast_open_take(Tcp *tcp, uint32_t conn, Listener *listener, const Segment *syn) noexcept nogil
# After that: take the SYN's data, answer, and tell the application.
cdef void fast_open_serve(Tcp *tcp, uint32_t conn, Arrival *arrival) noexcept nogil
# The handshake of such a connection is complete.
cdef void fast_open_completed(Tcp *tcp, uint32_t conn) noexcept nogil
# It was reset before.
cdef void fast_open_was_reset(Tcp *tcp, uint32_t conn) noexcept nogil
# ---- the client
# Begin an active open whose application asked for Fast Open. True: the SYN waits for the data that it will carry.
cdef bint fast_open_begin(Tcp *tcp, uint32_t conn) noexcept nogil
# With TRAIT_FAST_OPEN_PENDING: the SYN leaves where there are data for it now.
cdef void fast_open_go(Tcp *tcp, uint32_t conn) noexcept nogil
# The peer's SYN or SYN-ACK came, with TRAIT_FAST_OPEN: its cookie is kept, what it acknowledges of our SYN's data is done.
cdef void fast_open_answered(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
