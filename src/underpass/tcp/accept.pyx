"""Listening and accepting."""
from libc.errno cimport EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.ip.network cimport network_is_broadcast
from underpass.ip.policy cimport policy_is_unicast
from underpass.tcp.cookies cimport cookie_check, cookie_make, cookie_options, cookie_send
from underpass.tcp.ecn cimport ecn_accepts
from underpass.tcp.ending cimport ending_handshake_over
from underpass.tcp.fast_open cimport fast_open_take
from underpass.tcp.isn cimport isn_above
from underpass.tcp.open cimport open_block, open_established, open_send_syn, open_take_syn
from underpass.tcp.output cimport output_reset_for
from underpass.tcp.keepalive cimport keepalive_arm
from underpass.tcp.preset cimport preset_default
from underpass.tcp.rare cimport rare_of
from underpass.tcp.sources cimport sources_add
from underpass.tcp.tcb cimport (
    CONN_COUNTED_HALF_OPEN, EVENT_ACCEPTED, LISTENER_BUCKETS, MAX_LISTENERS, NO_CONN, NO_LISTENER, SYN_RECEIVED,
    Listener, Tcb, TcbCold, Tcp, TcpState,
)
from underpass.tcp.traits cimport TRAIT_DEFER_ACCEPT
from underpass.tcp.window cimport window_of_syn
from underpass.wire.address cimport Address, address_equal, address_is_any, address_is_v4
from underpass.wire.segment cimport ACK, RST, SYN, Segment
from underpass.wire.seq cimport seq_t

cdef enum:
    COOKIE_LIFE_NS = 130000000000   # two counts of 64 s: how long after the last cookie an ACK may still bring one back


cdef inline bint serves(const Listener *listener, const Address *address, uint16_t port) noexcept nogil:
    if not listener.used or listener.port != port:
        return False
    if listener.family and (listener.family == 4) != address_is_v4(address):
        return False
    return address_is_any(&listener.address) or address_equal(&listener.address, address)


cdef uint32_t accept_find(const Tcp *tcp, const Address *address, uint16_t port) noexcept nogil:
    cdef const TcpState *state = tcp.state
    cdef uint32_t index = state.listener_buckets[port % LISTENER_BUCKETS]
    cdef uint32_t general = NO_LISTENER
    while index != NO_LISTENER:
        if serves(&state.listeners[index], address, port):
            if not address_is_any(&state.listeners[index].address):
                return index
            general = index
        index = state.listeners[index].next
    return general


cdef bint taken(const TcpState *state, const Address *address, uint8_t family, uint16_t port) noexcept nogil:
    """Whether a listener with the same address, family and port exists."""
    cdef uint32_t index = state.listener_buckets[port % LISTENER_BUCKETS]
    cdef const Listener *other
    while index != NO_LISTENER:
        other = &state.listeners[index]
        if other.port == port and other.family == family and address_equal(&other.address, address):
            return True
        index = other.next
    return False


cdef uint32_t accept_listen(Tcp *tcp, const Address *address, uint8_t family, uint16_t port, uint8_t app,
                            uint32_t backlog, uint32_t flags, uint64_t user, int *error) noexcept nogil:
    cdef TcpState *state = tcp.state
    cdef uint32_t bucket = port % LISTENER_BUCKETS
    cdef uint32_t index
    cdef Listener *listener
    if port == 0:
        error[0] = EINVAL
        return NO_LISTENER
    if not address_is_any(address) and (not policy_is_unicast(address) or network_is_broadcast(tcp.network, address)):
        error[0] = EADDRNOTAVAIL
        return NO_LISTENER
    if taken(state, address, family, port):
        error[0] = EADDRINUSE
        return NO_LISTENER
    for index in range(MAX_LISTENERS):
        listener = &state.listeners[index]
        if not listener.used and listener.half_open == 0:
            listener.address = address[0]
            listener.port = port
            listener.app = app
            listener.family = family
            listener.backlog = backlog if backlog else 1
            preset_default(tcp, &listener.preset)
            listener.preset.flags = flags
            listener.user = user
            listener.fast_open = 0
            listener.fast_open_resets[0] = listener.fast_open_resets[1] = 0
            listener.used = 1
            listener.next = state.listener_buckets[bucket]
            state.listener_buckets[bucket] = index
            return index
    error[0] = ENOBUFS
    return NO_LISTENER


cdef void accept_unlisten(Tcp *tcp, uint32_t listener) noexcept nogil:
    cdef TcpState *state = tcp.state
    cdef uint32_t *link = &state.listener_buckets[state.listeners[listener].port % LISTENER_BUCKETS]
    while link[0] != NO_LISTENER and link[0] != listener:
        link = &state.listeners[link[0]].next
    if link[0] == listener:
        link[0] = state.listeners[listener].next
    state.listeners[listener].used = 0


cdef uint32_t half_open(Tcp *tcp, uint32_t index, const Segment *syn, uint32_t hash, seq_t floor) noexcept nogil:
    """RFC 9293 3.10.7.2, third: a SYN makes a connection in SYN-RECEIVED. Payload with it will be sent again.

    Returns the connection where it is to be served by Fast Open (RFC 7413), else NO_CONN.
    """
    cdef Listener *listener = &tcp.state.listeners[index]
    cdef uint32_t conn = open_block(tcp, &syn.dst, syn.dst_port, &syn.src, syn.src_port, syn.vlan, hash,
                                    &listener.preset)
    cdef Tcb *tcb
    cdef TcbCold *cold
    if conn == NO_CONN:
        return NO_CONN
    tcb = &tcp.tcbs[conn]
    cold = &tcp.colds[conn]
    adopt(tcp, conn, index, syn)
    tcb.flags |= CONN_COUNTED_HALF_OPEN
    listener.half_open += 1
    tcp.state.half_open += 1
    if floor != 0:
        cold.iss = isn_above(cold.iss, floor)
        tcb.snd_una = cold.iss
        tcb.snd_nxt = tcb.snd_end = cold.iss + 1
    tcb.state = SYN_RECEIVED
    open_take_syn(tcp, conn, syn)
    if listener.fast_open != 0 and fast_open_take(tcp, conn, listener, syn):
        return conn
    open_send_syn(tcp, conn)
    return NO_CONN


cdef inline void adopt(Tcp *tcp, uint32_t conn, uint32_t index, const Segment *seg) noexcept nogil:
    """Whose a connection is, and the MAC that the handshake came from."""
    cdef Listener *listener = &tcp.state.listeners[index]
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    tcb.app = listener.app
    tcb.user = listener.user
    cold.listener = index
    memcpy(cold.reply_mac, seg.packet + 6, 6)


cdef inline bint cookies_are_out(const Tcp *tcp) noexcept nogil:
    """Whether one that we, or the XDP program in our name, have sent may still come back. Its clock may be ahead of this turn's."""
    if tcp.state.cookie_pressure_ns != 0 and tcp.now_ns - tcp.state.cookie_pressure_ns <= COOKIE_LIFE_NS:
        return True
    if tcp.xdp_cookie_ns == NULL or tcp.xdp_cookie_ns[0] == 0:
        return False
    return <int64_t>(tcp.now_ns - tcp.xdp_cookie_ns[0]) <= <int64_t>COOKIE_LIFE_NS


cdef bint accept_brings_cookie(const Tcp *tcp, const Segment *ack, Segment *syn) noexcept nogil:
    return cookies_are_out(tcp) and cookie_check(tcp, ack, syn)


cdef uint32_t complete_cookie(Tcp *tcp, uint32_t index, const Segment *seg, uint32_t hash) noexcept nogil:
    """An ACK for which there is no connection: does it bring back a cookie of ours?"""
    cdef Segment syn                        # as it must have been
    if accept_brings_cookie(tcp, seg, &syn):
        return accept_cookie(tcp, index, seg, &syn, hash)
    tcp.state.counters.cookies_refused += cookies_are_out(tcp)
    output_reset_for(tcp, seg)
    return NO_CONN


cdef uint32_t accept_cookie(Tcp *tcp, uint32_t index, const Segment *seg, const Segment *syn, uint32_t hash) noexcept nogil:
    cdef uint32_t conn = open_block(tcp, &seg.dst, seg.dst_port, &seg.src, seg.src_port, seg.vlan, hash,
                                    &tcp.state.listeners[index].preset)
    cdef Tcb *tcb
    if conn == NO_CONN:
        return NO_CONN
    tcb = &tcp.tcbs[conn]
    adopt(tcp, conn, index, seg)
    tcb.state = SYN_RECEIVED                # what the options are agreed on in
    open_take_syn(tcp, conn, syn)
    tcp.colds[conn].iss = seg.ack - 1
    tcb.snd_nxt = tcb.snd_end = tcb.snd_una = seg.ack
    tcb.rcv_adv = tcb.rcv_nxt + window_of_syn(tcb)
    tcp.state.counters.cookies_accepted += 1
    open_established(tcp, conn, seg)
    accept_completed(tcp, conn, True)           # nothing of it was kept while it was half-open
    return conn


cdef inline bint agrees_to_ecn(const Tcp *tcp, uint32_t listener) noexcept nogil:
    return ecn_accepts(tcp, tcp.state.listeners[listener].preset.congestion)


cdef seq_t accept_cookie_for(const Tcp *tcp, uint32_t listener, const Segment *syn) noexcept nogil:
    return cookie_make(tcp, syn, cookie_options(syn, agrees_to_ecn(tcp, listener)))


cdef bint accept_has_room(const Tcp *tcp, uint32_t listener) noexcept nogil:
    cdef const TcpState *state = tcp.state
    return state.listeners[listener].half_open < state.listeners[listener].backlog and \
        state.half_open < state.limits.half_open


cdef uint32_t accept_segment(Tcp *tcp, uint32_t listener, const Segment *seg, uint32_t hash, seq_t floor) noexcept nogil:
    if seg.flags & RST:                                     # first check for a RST
        return NO_CONN
    if seg.flags & ACK:                                     # second check for an ACK
        if seg.flags & SYN:
            output_reset_for(tcp, seg)
            return NO_CONN
        return complete_cookie(tcp, listener, seg, hash)
    if not seg.flags & SYN:                                 # fourth: other text or control
        return NO_CONN
    if accept_has_room(tcp, listener):
        return half_open(tcp, listener, seg, hash, floor)
    else:
        tcp.state.counters.half_open_limit += 1             # RFC 4987 3.6: nothing is kept
        cookie_send(tcp, seg, &tcp.state.listeners[listener].preset, agrees_to_ecn(tcp, listener))
    return NO_CONN


cdef void accept_completed(Tcp *tcp, uint32_t conn, bint arrived) noexcept nogil:
    """With TCP_DEFER_ACCEPT it stays one of the listener's half-open connections until data have come, or the time is over."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    sources_add(tcp, conn)
    if not tcb.traits & TRAIT_DEFER_ACCEPT or arrived:
        accept_announce(tcp, conn)
        return
    tcp.state.counters.deferred_accepts += 1
    tcb.linger_at = tcp.now_ns + <uint64_t>rare_of(tcp, conn).settings.defer_accept_ms * 1000000


cdef void accept_announce(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.traits & TRAIT_DEFER_ACCEPT:
        tcb.traits &= ~<uint32_t>TRAIT_DEFER_ACCEPT
        tcb.linger_at = 0
        keepalive_arm(tcp, conn)
    ending_handshake_over(tcp, conn)
    tcp.state.counters.passive_opens += 1
    tcb.events |= EVENT_ACCEPTED
