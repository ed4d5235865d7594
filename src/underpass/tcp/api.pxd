"""What a native application calls, from within its callbacks. All are `noexcept nogil` and return a status.

Receiving is by reference: `tcp_peek` gives the first octets of the receive queue where they lie in their frame; they stay valid until
`tcp_consume`. Sending is by reservation: `tcp_reserve` gives room in a frame of the send queue, to be filled in place and
made part of the stream by `tcp_commit`.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME, frame_payload
from underpass.tcp.receive cimport receive_consumed
from underpass.tcp.send cimport send_commit, send_reserve
from underpass.tcp.tcb cimport Preset, Tcp
from underpass.wire.address cimport Address


cdef inline uint32_t tcp_peek(Tcp *tcp, uint32_t conn, const uint8_t **at) noexcept nogil:
    """Octets at the head of the receive queue that lie together; 0 when there are none. `at` is not set for 0."""
    cdef uint32_t frame = tcp.tcbs[conn].rcv_head
    if frame == NO_FRAME:
        return 0
    at[0] = frame_payload(tcp.pool, frame)
    return tcp.pool.frames[frame].length


cdef inline void tcp_consume(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    """Done with so many octets at the head of the receive queue."""
    receive_consumed(tcp, conn, octets)


cdef inline uint32_t tcp_readable(const Tcp *tcp, uint32_t conn) noexcept nogil:
    """Octets waiting in all frames."""
    return tcp.tcbs[conn].rcv_bytes


cdef inline uint32_t tcp_reserve(Tcp *tcp, uint32_t conn, uint8_t **at) noexcept nogil:
    """Room to write at `*at`: at least 1 octet, at most one segment; 0: no room now, `writable` will be called.

    Nothing else may be called for this connection between reserve and commit.
    """
    return send_reserve(tcp, conn, at)


cdef inline void tcp_commit(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    """The room's first octets are part of the stream; 0 gives the room back."""
    send_commit(tcp, conn, octets)


# Whether the peer's FIN follows what waits to be read (or came already).
cdef bint tcp_at_end(const Tcp *tcp, uint32_t conn) noexcept nogil
# Octets that the send queue takes now, or a few more: a hint for how much to have ready. Changes nothing.
cdef uint32_t tcp_room(const Tcp *tcp, uint32_t conn) noexcept nogil
# Copy octets into the send queue; returns how many were taken. Fewer than asked: `writable` will be called.
cdef uint32_t tcp_write(Tcp *tcp, uint32_t conn, const uint8_t *octets, uint32_t count) noexcept nogil
# No more will be sent: FIN follows what is queued (half-close).
cdef void tcp_shutdown(Tcp *tcp, uint32_t conn) noexcept nogil
# Done with the connection: what is queued is sent, then FIN; the application is told nothing more and the index is no longer its.
# Unread octets in the receive queue, or octets that come later, make it a reset (RFC 9293 3.6.1, RFC 2525 2.17).
cdef void tcp_close(Tcp *tcp, uint32_t conn) noexcept nogil
# Reset now. The index is no longer the application's.
cdef void tcp_abort(Tcp *tcp, uint32_t conn) noexcept nogil
# Reset all connections now, as where the process ends; the applications are told. Returns how many there were.
cdef uint32_t tcp_abort_all(Tcp *tcp) noexcept nogil
# Keep the index after `closed`, with what was received and not read, until tcp_close.
cdef void tcp_hold(Tcp *tcp, uint32_t conn) noexcept nogil
# Open a connection from `local` (any: by route; port 0: one of the ephemeral range). Returns NO_CONN with *error an errno.
cdef uint32_t tcp_connect(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                          uint16_t remote_port, uint8_t app, uint64_t user, int *error) noexcept nogil
# The same, with options that hold from the SYN on: see tcp/preset.pxd.
cdef uint32_t tcp_connect_preset(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                                 uint16_t remote_port, uint8_t app, uint64_t user, const Preset *preset,
                                 int *error) noexcept nogil
# Accept connections to (address or any, port) for `app`. Returns the listener's index or NO_LISTENER with *error an errno.
cdef uint32_t tcp_listen(Tcp *tcp, const Address *address, uint8_t family, uint16_t port, uint8_t app, uint32_t backlog,
                         uint32_t flags, uint64_t user, int *error) noexcept nogil
cdef void tcp_unlisten(Tcp *tcp, uint32_t listener) noexcept nogil
# The application's own word with a connection.
cdef uint64_t tcp_user(const Tcp *tcp, uint32_t conn) noexcept nogil
cdef void tcp_set_user(Tcp *tcp, uint32_t conn, uint64_t user) noexcept nogil
# A handle that outlives the connection: generation and index. tcp_resolve gives the index, or NO_CONN when it is gone.
cdef uint64_t tcp_handle(const Tcp *tcp, uint32_t conn) noexcept nogil
cdef uint32_t tcp_resolve(const Tcp *tcp, uint64_t handle) noexcept nogil
# The application will soon use this connection, which it has not touched for long: have it come to the cache.
cdef void tcp_prefetch(const Tcp *tcp, uint32_t conn) noexcept nogil
# Ask for `writable` when there is room, without having been refused.
cdef void tcp_want_writable(Tcp *tcp, uint32_t conn) noexcept nogil
