"""Socket options that mean something here; the errors are those of Linux."""
from libc.errno cimport EINVAL, ENOENT, ENOPROTOOPT
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t

import os
import socket

from underpass.tcp.block cimport block_touch
from underpass.tcp.congestion.control cimport (
    CONGESTION_CONTROLS, congestion_begin, congestion_control, congestion_named,
)
from underpass.tcp.pacing cimport pacing_set_limit
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport CONN_KEEPALIVE, CONN_NODELAY, CONN_RARE, ESTABLISHED, Tcb, TcbCold, Tcp

cdef enum:
    FRAME_OCTETS = 1024             # octets of payload that SO_SNDBUF reckons for a frame
    LEAST_BUFFER = 4096
    NS_PER_MS = 1000000

cdef int TCP = socket.IPPROTO_TCP
cdef int SOCKET = socket.SOL_SOCKET
cdef int NODELAY = socket.TCP_NODELAY
cdef int MAXSEG = socket.TCP_MAXSEG
cdef int KEEPIDLE = socket.TCP_KEEPIDLE
cdef int KEEPINTVL = socket.TCP_KEEPINTVL
cdef int KEEPCNT = socket.TCP_KEEPCNT
cdef int USER_TIMEOUT = socket.TCP_USER_TIMEOUT
cdef int CONGESTION = socket.TCP_CONGESTION
cdef int KEEPALIVE = socket.SO_KEEPALIVE
cdef int SNDBUF = socket.SO_SNDBUF
cdef int RCVBUF = socket.SO_RCVBUF
cdef int ERROR = socket.SO_ERROR
cdef int MAX_PACING_RATE = 47         # SO_MAX_PACING_RATE


cdef int refuse(int number) except -1:
    raise OSError(number, os.strerror(number))


cdef object option_get(Tcp *tcp, uint32_t conn, int level, int option):
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if level == SOCKET:
        if option == KEEPALIVE:
            return int((tcb.flags & CONN_KEEPALIVE) != 0)
        if option == SNDBUF:
            return cold.snd_limit * FRAME_OCTETS
        if option == RCVBUF:
            return tcb.rcv_limit
        if option == ERROR:
            return cold.error
        if option == MAX_PACING_RATE:
            return (rare_of(tcp, conn).pacing_limit if tcb.flags & CONN_RARE else 0) or UINT64_MAX
    elif level == TCP:
        if option == NODELAY:
            return int((tcb.flags & CONN_NODELAY) != 0)
        if option == MAXSEG:
            return tcb.mss
        if option == KEEPIDLE:
            return cold.keep_idle_ms // 1000
        if option == KEEPINTVL:
            return cold.keep_interval_ms // 1000
        if option == KEEPCNT:
            return cold.keep_count
        if option == USER_TIMEOUT:
            return cold.user_timeout_ms
        if option == CONGESTION:
            return congestion_control(tcb.congestion).name
    refuse(ENOPROTOOPT)


cdef int choose_congestion(Tcp *tcp, uint32_t conn, object name) except -1:
    cdef uint32_t which = congestion_index(name)
    if which == CONGESTION_CONTROLS:
        refuse(ENOENT)
    congestion_begin(tcp, conn, which)
    return 0


cdef uint32_t congestion_index(object name) except? 0xFFFFFFFF:
    """The number of a congestion control by its name (bytes or str); CONGESTION_CONTROLS: there is none."""
    cdef bytes octets = name.encode() if isinstance(name, str) else bytes(name)
    return congestion_named(octets)


cdef int in_range(object value, int lowest, int highest) except? -1:
    if not isinstance(value, int) or not lowest <= value <= highest:
        refuse(EINVAL)
    return value


cdef int set_keepalive(Tcp *tcp, uint32_t conn, bint on) except -1:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not on:
        tcb.flags &= ~<uint32_t>CONN_KEEPALIVE
        return 0
    tcb.flags |= CONN_KEEPALIVE
    rearm_keepalive(tcp, conn)
    return 0


cdef void rearm_keepalive(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_KEEPALIVE and tcb.state >= ESTABLISHED:
        tcb.linger_at = tcp.now_ns + <uint64_t>tcp.colds[conn].keep_idle_ms * NS_PER_MS
        block_touch(tcp, conn)


cdef int set_socket_option(Tcp *tcp, uint32_t conn, int option, object value) except -1:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if option == KEEPALIVE:
        return set_keepalive(tcp, conn, bool(value))
    if option == SNDBUF:
        tcp.colds[conn].snd_limit = max(in_range(value, 0, 1 << 30), LEAST_BUFFER) // FRAME_OCTETS
    elif option == RCVBUF:
        # What was advertised is not taken back: a smaller buffer counts from what the peer has not used.
        tcb.rcv_limit = min(max(in_range(value, 0, 1 << 30), LEAST_BUFFER), 65535 << tcb.rcv_scale)
    elif option == MAX_PACING_RATE:
        set_pacing(tcp, conn, value)
    else:
        refuse(ENOPROTOOPT)
    return 0


cdef int set_pacing(Tcp *tcp, uint32_t conn, object value) except -1:
    """SO_MAX_PACING_RATE in octets a second; what 32 or 64 bits of ones say is no limit."""
    if not isinstance(value, int) or not -1 <= value <= UINT64_MAX or value == 0:
        refuse(EINVAL)
    pacing_set_limit(tcp, conn, UINT64_MAX if value in (-1, 0xFFFFFFFF) else value)
    block_touch(tcp, conn)
    return 0


cdef int option_set(Tcp *tcp, uint32_t conn, int level, int option, object value) except -1:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if level == SOCKET:
        return set_socket_option(tcp, conn, option, value)
    if level != TCP:
        refuse(ENOPROTOOPT)
    if option == NODELAY:
        tcb.flags = tcb.flags | CONN_NODELAY if value else tcb.flags & ~<uint32_t>CONN_NODELAY
        block_touch(tcp, conn)
    elif option == MAXSEG:
        tcb.mss = <unsigned short>min(in_range(value, 64, 65535), tcb.mss)
    elif option == KEEPIDLE:
        cold.keep_idle_ms = in_range(value, 1, 32767) * 1000
        rearm_keepalive(tcp, conn)
    elif option == KEEPINTVL:
        cold.keep_interval_ms = in_range(value, 1, 32767) * 1000
    elif option == KEEPCNT:
        cold.keep_count = in_range(value, 1, 127)
    elif option == USER_TIMEOUT:
        cold.user_timeout_ms = in_range(value, 0, 2147483647)
    elif option == CONGESTION:
        choose_congestion(tcp, conn, value)
    else:
        refuse(ENOPROTOOPT)
    return 0
