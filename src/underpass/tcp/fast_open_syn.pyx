"""What a SYN or SYN-ACK has of Fast Open."""
from libc.string cimport memcpy

from underpass.link.frames cimport NO_FRAME, TX_HEADROOM, Frame, frame_chunk
from underpass.tcp.cookie_jar cimport CookiePeer, cookie_jar_failed, cookie_jar_find
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport SYN_SENT, TcbCold
from underpass.wire.siphash cimport siphash24
from underpass.wire.tcp cimport tcp_write_fast_open

cdef struct HashedClient:           # 24 octets, no padding
    Address client
    uint64_t period


cdef uint64_t fast_open_cookie(const Tcp *tcp, const Address *client, uint64_t period) noexcept nogil:
    cdef HashedClient key
    key.client = client[0]
    key.period = period
    return siphash24(&tcp.state.fast_open_key, <const uint8_t *>&key, sizeof(HashedClient))


cdef uint32_t fast_open_write_option(Tcp *tcp, uint32_t conn, uint8_t *at) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef CookiePeer *peer
    cdef uint64_t cookie
    if tcb.traits & TRAIT_FAST_OPEN_GRANT:
        cookie = fast_open_cookie(tcp, &tcb.remote, fast_open_period(tcp))
        return tcp_write_fast_open(at, <const uint8_t *>&cookie, COOKIE_BYTES)
    if tcb.state != SYN_SENT or tcp.colds[conn].backoff != 0:
        return 0                    # RFC 7413 4.1.3.1: what is sent again does without
    peer = cookie_jar_find(&tcp.state.fast_open_cookies, &tcp.state.secret, &tcb.remote)
    return tcp_write_fast_open(at, peer.cookie if peer else NULL, peer.length if peer else 0)


cdef uint32_t fast_open_octets(Tcp *tcp, uint32_t conn) noexcept nogil:
    return rare_of(tcp, conn).fast_open_octets


cdef uint32_t fast_open_payload(Tcp *tcp, uint32_t conn, uint8_t *header, uint32_t header_bytes) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t room = tcp.pool.state.chunk_bytes - TX_HEADROOM - header_bytes
    cdef const Frame *it
    cdef uint32_t octets
    if tcb.state != SYN_SENT:
        return 0
    if cold.backoff != 0:
        if cold.backoff == 1:
            fall_back(tcp, conn)
        return 0
    if tcb.snd_head == NO_FRAME:
        return 0
    it = &tcp.pool.frames[tcb.snd_head]
    octets = min(<uint32_t>it.length, room)
    memcpy(header + header_bytes, frame_chunk(tcp.pool, tcb.snd_head) + it.offset, octets)
    tcp.state.counters.fast_open_sent += rare_of(tcp, conn).fast_open_octets == 0
    rare_of(tcp, conn).fast_open_octets = octets
    return octets


cdef void fall_back(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 7413 4.1.3.1: no answer is a negative answer; the next SYN is an ordinary one."""
    tcp.state.counters.fast_open_fallbacks += 1
    cookie_jar_failed(&tcp.state.fast_open_cookies, &tcp.state.secret, &tcp.tcbs[conn].remote, tcp.now_ns)
