"""Passive opens (RFC 9293 3.10.7.2): listeners, half-open connections, and SYN cookies when there are too many."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

# The listener for an address and port: one on the address itself before one on any address. NO_LISTENER: none.
cdef uint32_t accept_find(const Tcp *tcp, const Address *address, uint16_t port) noexcept nogil
cdef uint32_t accept_listen(Tcp *tcp, const Address *address, uint8_t family, uint16_t port, uint8_t app,
                            uint32_t backlog, uint32_t flags, uint64_t user, int *error) noexcept nogil
cdef void accept_unlisten(Tcp *tcp, uint32_t listener) noexcept nogil
# Whether one more half-open connection may be kept; else SYNs are answered by cookies.
cdef bint accept_has_room(const Tcp *tcp, uint32_t listener) noexcept nogil
# A segment for a listener. Returns the connection for which it goes on to be processed, because a cookie completed it or, in
# SYN-RECEIVED, by Fast Open; or NO_CONN.
# `floor`: where not 0, the initial sequence number must lie beyond it (RFC 6191: a connection that was in TIME_WAIT).
cdef uint32_t accept_segment(Tcp *tcp, uint32_t listener, const Segment *seg, uint32_t hash, seq_t floor) noexcept nogil
# The number that a cookie for this SYN would have now.
cdef seq_t accept_cookie_for(const Tcp *tcp, uint32_t listener, const Segment *syn) noexcept nogil
# Whether an ACK brings back a cookie of ours that may still do so, with `syn` as in cookie_check; and the connection that it
# opens, or NO_CONN.
cdef bint accept_brings_cookie(const Tcp *tcp, const Segment *ack, Segment *syn) noexcept nogil
cdef uint32_t accept_cookie(Tcp *tcp, uint32_t listener, const Segment *seg, const Segment *syn, uint32_t hash) noexcept nogil
# The handshake's last ACK came, perhaps with data (`arrived`): the application will be told, now or once there are some.
cdef void accept_completed(Tcp *tcp, uint32_t conn, bint arrived) noexcept nogil
# Tell it now.
cdef void accept_announce(Tcp *tcp, uint32_t conn) noexcept nogil
