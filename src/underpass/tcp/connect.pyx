"""Connecting."""
from libc.errno cimport EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED, EINVAL, ENETUNREACH, ENOBUFS
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.ip.network cimport network_is_broadcast, network_is_local, network_route, network_source
from underpass.ip.policy cimport policy_is_unicast
from underpass.tcp.demux cimport DEMUX_NONE, demux_find, demux_hash
from underpass.tcp.ending cimport ending_gone
from underpass.tcp.fast_open cimport fast_open_answered, fast_open_begin
from underpass.tcp.fast_open_syn cimport fast_open_octets
from underpass.tcp.open cimport open_block, open_established, open_send_syn, open_take_syn
from underpass.tcp.output cimport output_reset_for
from underpass.tcp.steering cimport Wanted, steering_for, steering_takes
from underpass.tcp.tcb cimport (
    CONN_ACK_NOW, CONN_ACTIVE, EVENT_CONNECTED, NO_CONN, SETTING_FAST_OPEN, SYN_RECEIVED, SYN_SENT, Preset,
    Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport TRAIT_DEFER_ACCEPT, TRAIT_FAST_OPEN
from underpass.tcp.window cimport window_of_syn
from underpass.wire.address cimport Address, address_is_any, address_is_v4
from underpass.wire.segment cimport ACK, NO_VLAN, RST, SYN, Segment
from underpass.wire.seq cimport seq_after, seq_t, seq_upto
from underpass.wire.siphash cimport siphash13_words


cdef enum:
    STRIDE = 37                     # between ports that are tried: see next_port


cdef inline uint16_t next_port(Tcp *tcp, uint32_t offset) noexcept nogil:
    """All ports of the range in turn. Neighbours differ in their last bits alone, which a device whose table gives
    each queue a block of entries may not look at: so the next one is some way off.
    """
    cdef uint32_t first = tcp.state.limits.ephemeral_first
    cdef uint32_t count = tcp.state.limits.ephemeral_last - first + 1
    cdef uint32_t stride = STRIDE if count % STRIDE else 1
    cdef uint16_t port = <uint16_t>(first + (offset % count + stride * tcp.state.ephemeral_hint) % count)
    tcp.state.ephemeral_hint = (tcp.state.ephemeral_hint + 1) % count
    return port


cdef inline bint is_free(const Tcp *tcp, const Address *local, uint16_t port, const Address *remote,
                         uint16_t remote_port) noexcept nogil:
    return demux_find(tcp, demux_hash(tcp, local, port, remote, remote_port), local, port, remote,
                      remote_port) == DEMUX_NONE


cdef uint16_t choose_port(Tcp *tcp, const Address *local, const Address *remote, uint16_t remote_port) noexcept nogil:
    """RFC 6056 3.3.3: a keyed offset for each destination, and a counter; 0 when every port of the range is in use.

    A port that brings the answers to a queue of ours is looked for first, among a bounded number.
    """
    cdef uint32_t count = tcp.state.limits.ephemeral_last - tcp.state.limits.ephemeral_first + 1
    cdef Wanted wanted = steering_for(tcp, local, remote, remote_port)
    cdef uint64_t[4] words
    cdef uint32_t offset, _
    cdef uint16_t port
    words[0] = local.low
    words[1] = remote.high
    words[2] = remote.low
    words[3] = remote_port
    offset = <uint32_t>siphash13_words(&tcp.state.secret, words, 4)
    for _ in range(min(count, wanted.tries)):
        port = next_port(tcp, offset)
        if steering_takes(&wanted, port) and is_free(tcp, local, port, remote, remote_port):
            tcp.state.counters.ports_steered += 1
            return port
    for _ in range(count):
        port = next_port(tcp, offset)
        if is_free(tcp, local, port, remote, remote_port):
            return port
    return 0


cdef int choose_local(Tcp *tcp, const Address *wanted, const Address *remote, Address *local) noexcept nogil:
    """The source address, or an errno."""
    if not policy_is_unicast(remote) or network_is_broadcast(tcp.network, remote) or \
            network_route(tcp.network, remote) == NULL:
        return ENETUNREACH                  # RFC 9293 3.9.1.1 (MUST-46): no connection with a group or with all
    if address_is_any(wanted):
        return 0 if network_source(tcp.network, remote, local) else EADDRNOTAVAIL
    if not network_is_local(tcp.network, wanted) or address_is_v4(wanted) != address_is_v4(remote):
        return EADDRNOTAVAIL
    local[0] = wanted[0]
    return 0


cdef uint32_t connect_open(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                           uint16_t remote_port, uint8_t app, uint64_t user, const Preset *preset,
                           int *error) noexcept nogil:
    cdef Address source
    cdef uint32_t hash, conn
    cdef Tcb *tcb
    if remote_port == 0 or address_is_any(remote):
        error[0] = EINVAL
        return NO_CONN
    error[0] = choose_local(tcp, local, remote, &source)
    if error[0]:
        return NO_CONN
    if local_port == 0:
        local_port = choose_port(tcp, &source, remote, remote_port)
        if local_port == 0:
            error[0] = EADDRNOTAVAIL
            return NO_CONN
    hash = demux_hash(tcp, &source, local_port, remote, remote_port)
    if demux_find(tcp, hash, &source, local_port, remote, remote_port) != DEMUX_NONE:
        error[0] = EADDRINUSE
        return NO_CONN
    conn = open_block(tcp, &source, local_port, remote, remote_port, NO_VLAN, hash, preset)
    if conn == NO_CONN:
        error[0] = ENOBUFS
        return NO_CONN
    tcb = &tcp.tcbs[conn]
    tcb.app = app
    tcb.user = user
    tcb.flags |= CONN_ACTIVE
    tcb.traits &= ~<uint32_t>TRAIT_DEFER_ACCEPT
    tcb.state = SYN_SENT
    tcp.state.counters.active_opens += 1
    if not (preset.settings.flags & SETTING_FAST_OPEN and fast_open_begin(tcp, conn)):
        open_send_syn(tcp, conn)
    return conn


cdef inline seq_t syn_end(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Behind our SYN and what data it carried (RFC 7413 4.2.1)."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    return tcb.snd_nxt + (fast_open_octets(tcp, conn) if tcb.traits & TRAIT_FAST_OPEN else 0)


cdef bint refused(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """RFC 9293 3.10.7.3, first and second: a bad ACK is answered by a reset; a reset counts only with a good ACK."""
    if seg.flags & ACK and (seq_upto(seg.ack, tcp.colds[conn].iss) or seq_after(seg.ack, syn_end(tcp, conn))):
        output_reset_for(tcp, seg)
        return True
    if seg.flags & RST:
        if seg.flags & ACK:
            tcp.state.counters.resets_in += 1
            tcp.state.counters.connect_failures += 1
            ending_gone(tcp, conn, ECONNREFUSED)
        return True
    return not seg.flags & SYN


cdef bint connect_segment(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if refused(tcp, conn, seg):
        return False
    memcpy(cold.reply_mac, seg.packet + 6, 6)
    if tcb.traits & TRAIT_FAST_OPEN:
        fast_open_answered(tcp, conn, seg)
    open_take_syn(tcp, conn, seg)
    if not seg.flags & ACK:
        # Simultaneous open (RFC 9293 3.5, figure 7): answer SYN with SYN-ACK of the same ISS.
        tcb.state = SYN_RECEIVED
        cold.backoff = 0
        open_send_syn(tcp, conn)
        return False
    tcb.rcv_adv = tcb.rcv_nxt + window_of_syn(tcb)
    open_established(tcp, conn, seg)
    tcb.flags |= CONN_ACK_NOW
    tcb.events |= EVENT_CONNECTED
    return True
