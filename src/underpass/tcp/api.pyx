"""The procedures that native applications call; see api.pxd for what each promises."""
from libc.errno cimport ECONNABORTED
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.tcp.accept cimport accept_listen, accept_unlisten
from underpass.tcp.autosize cimport autosize_has_room, autosize_send_limit
from underpass.tcp.block cimport block_prefetch, block_touch
from underpass.tcp.connect cimport connect_open
from underpass.tcp.ending cimport ending_abort, ending_close, ending_reset_all, ending_shutdown
from underpass.tcp.preset cimport preset_default
from underpass.tcp.send cimport send_commit, send_reserve
from underpass.tcp.tcb cimport (
    CLOSED, CLOSE_WAIT, CONN_FIN_RECEIVED, CONN_HELD, CONN_ORPHAN, CONN_WANTS_ROOM, ESTABLISHED, EVENT_WRITABLE,
    NO_CONN, Preset, Tcb, Tcp,
)
from underpass.wire.address cimport Address


cdef bint tcp_at_end(const Tcp *tcp, uint32_t conn) noexcept nogil:
    return (tcp.tcbs[conn].flags & CONN_FIN_RECEIVED) != 0 or tcp.tcbs[conn].state == CLOSED


cdef uint32_t tcp_room(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t limit = autosize_send_limit(tcp, &tcp.colds[conn])
    cdef uint32_t frames = limit - tcb.snd_frames if limit > tcb.snd_frames else 0
    cdef uint32_t spare = tcp.pool.state.free - tcp.pool.state.reserve
    if tcp.pool.state.free <= tcp.pool.state.reserve:
        spare = 0
    return (min(frames, spare) + 1) * tcb.mss


cdef uint32_t tcp_write(Tcp *tcp, uint32_t conn, const uint8_t *octets, uint32_t count) noexcept nogil:
    cdef uint32_t done = 0
    cdef uint32_t room
    cdef uint8_t *at = NULL
    while done < count:
        room = send_reserve(tcp, conn, &at)
        if room == 0:
            break
        if room > count - done:
            room = count - done
        memcpy(at, octets + done, room)
        send_commit(tcp, conn, room)
        done += room
    return done


cdef void tcp_shutdown(Tcp *tcp, uint32_t conn) noexcept nogil:
    ending_shutdown(tcp, conn)


cdef void tcp_close(Tcp *tcp, uint32_t conn) noexcept nogil:
    ending_close(tcp, conn)


cdef void tcp_abort(Tcp *tcp, uint32_t conn) noexcept nogil:
    ending_abort(tcp, conn)


cdef uint32_t tcp_abort_all(Tcp *tcp) noexcept nogil:
    return ending_reset_all(tcp, ECONNABORTED)


cdef void tcp_hold(Tcp *tcp, uint32_t conn) noexcept nogil:
    tcp.tcbs[conn].flags |= CONN_HELD


cdef uint32_t tcp_connect(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                          uint16_t remote_port, uint8_t app, uint64_t user, int *error) noexcept nogil:
    cdef Preset preset
    preset_default(tcp, &preset)
    return connect_open(tcp, local, local_port, remote, remote_port, app, user, &preset, error)


cdef uint32_t tcp_connect_preset(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                                 uint16_t remote_port, uint8_t app, uint64_t user, const Preset *preset,
                                 int *error) noexcept nogil:
    return connect_open(tcp, local, local_port, remote, remote_port, app, user, preset, error)


cdef uint32_t tcp_listen(Tcp *tcp, const Address *address, uint8_t family, uint16_t port, uint8_t app, uint32_t backlog,
                         uint32_t flags, uint64_t user, int *error) noexcept nogil:
    return accept_listen(tcp, address, family, port, app, backlog, flags, user, error)


cdef void tcp_unlisten(Tcp *tcp, uint32_t listener) noexcept nogil:
    accept_unlisten(tcp, listener)


cdef uint64_t tcp_user(const Tcp *tcp, uint32_t conn) noexcept nogil:
    return tcp.tcbs[conn].user


cdef void tcp_set_user(Tcp *tcp, uint32_t conn, uint64_t user) noexcept nogil:
    tcp.tcbs[conn].user = user


cdef uint64_t tcp_handle(const Tcp *tcp, uint32_t conn) noexcept nogil:
    return (<uint64_t>tcp.tcbs[conn].generation << 32) | conn


cdef uint32_t tcp_resolve(const Tcp *tcp, uint64_t handle) noexcept nogil:
    cdef uint32_t conn = <uint32_t>handle
    if conn >= tcp.state.tcb_fresh or tcp.tcbs[conn].generation != <uint32_t>(handle >> 32):
        return NO_CONN
    if tcp.tcbs[conn].flags & CONN_ORPHAN:
        return NO_CONN
    return conn


cdef void tcp_want_writable(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.flags |= CONN_WANTS_ROOM
    if (tcb.state == ESTABLISHED or tcb.state == CLOSE_WAIT) and autosize_has_room(tcp, conn):
        tcb.events |= EVENT_WRITABLE
        block_touch(tcp, conn)


cdef void tcp_prefetch(const Tcp *tcp, uint32_t conn) noexcept nogil:
    block_prefetch(tcp, conn)
