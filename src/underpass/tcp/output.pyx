"""Building segments (RFC 9293 3.1) and queueing them for the link."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.ip.network cimport (
    NEIGHBOUR_VALID, NO_NEIGHBOUR, WANT_RESOLVE, Neighbour, Network, network_announced_mss, network_want,
)
from underpass.ip.template cimport template_answer, template_mark, template_write
from underpass.link.frames cimport (
    NO_FRAME, TX_HEADROOM, Frame, frame_chunk, frame_ref, frame_take, frame_unref,
)
from underpass.link.link cimport DESC_CHECKSUM, LINK_TX_CHECKSUM, Desc
from underpass.tcp.dsack cimport dsack_blocks
from underpass.tcp.ecn cimport ecn_flags, ecn_marks, ecn_syn_flags
from underpass.tcp.fast_open_syn cimport fast_open_has_option, fast_open_payload, fast_open_write_option
from underpass.tcp.isn cimport timestamp_clock
from underpass.tcp.rare cimport rare_of
from underpass.tcp.rate cimport rate_sent
from underpass.tcp.tcb cimport (
    CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_SACK, CONN_TIMESTAMPS, SYN_RECEIVED, Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport (
    TRAIT_DUPLICATE_DUE, TRAIT_ECN, TRAIT_FAST_OPEN, TRAIT_RATE, TRAIT_SETTINGS, TRAIT_URGENT_OUT,
)
from underpass.tcp.train cimport train_add, train_begin, train_may_begin, train_takes
from underpass.tcp.urgent cimport urgent_mark
from underpass.tcp.validation cimport SENT_TICK_SHIFT
from underpass.tcp.window cimport window_of_syn, window_offer
from underpass.wire.address cimport Address
from underpass.wire.checksum cimport checksum_pseudo
from underpass.wire.segment cimport (
    ACK, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE, RST, SYN, SackBlock, Segment,
    segment_length,
)
from underpass.wire.seq cimport seq_after, seq_t
from underpass.wire.tcp cimport (
    SACK_BYTES, TCP_AT_CHECKSUM, TCP_BYTES, TIMESTAMPS_BYTES, tcp_write_checksum, tcp_write_header, tcp_write_mss,
    tcp_write_partial, tcp_write_sack, tcp_write_sack_permitted, tcp_write_timestamps, tcp_write_window_scale,
)

cdef inline void queue_packet(Tcp *tcp, uint32_t frame, const uint8_t *packet, uint32_t length, uint8_t *header,
                              bint offload) noexcept nogil:
    """Put a packet in the queue for the link; the caller's reference goes with it."""
    cdef Desc *desc = &tcp.tx.ring[tcp.tx.tail & tcp.tx.mask]
    desc.frame = frame
    desc.offset = <uint16_t>(packet - frame_chunk(tcp.pool, frame))
    desc.length = <uint16_t>length
    desc.flags = DESC_CHECKSUM if offload else 0
    desc.queue = 0
    desc.csum_start = <uint16_t>(header - packet)
    desc.csum_offset = TCP_AT_CHECKSUM
    desc.header_bytes = 0
    tcp.tx.tail += 1
    tcp.state.counters.segments_out += 1


cdef inline bint finish_checksum(Tcp *tcp, uint8_t *header, uint32_t tcp_bytes, uint64_t pseudo) noexcept nogil:
    """Fill in the checksum, or the pseudo-header's part of it where the device does the rest (then true)."""
    if tcp.link.offloads & LINK_TX_CHECKSUM:
        tcp_write_partial(header, tcp_bytes, pseudo)
        return True
    tcp_write_checksum(header, tcp_bytes, pseudo)
    return False


cdef inline const uint8_t *next_hop_mac(Tcp *tcp, Tcb *tcb, TcbCold *cold) noexcept nogil:
    """MAC of the next hop: the neighbour's, else the one that the handshake came from, else NULL and Linux is asked."""
    cdef Network *net = tcp.network
    cdef Neighbour *neighbour
    if tcb.neighbour != NO_NEIGHBOUR:
        neighbour = &net.neighbours[tcb.neighbour]
        neighbour.used_ns = tcp.now_ns
        if neighbour.state == NEIGHBOUR_VALID:
            return neighbour.mac
        network_want(net, tcb.neighbour, WANT_RESOLVE, tcp.now_ns)
    if cold.reply_mac[0] | cold.reply_mac[1] | cold.reply_mac[2] | cold.reply_mac[3] | cold.reply_mac[4] | \
            cold.reply_mac[5]:
        return cold.reply_mac
    tcp.state.counters.no_neighbour += 1
    return NULL


cdef inline uint16_t advertise(Tcp *tcp, Tcb *tcb) noexcept nogil:
    """The window field for this segment; remembers the right edge that it promises."""
    cdef uint32_t offer = window_offer(tcp, tcb)
    cdef uint32_t field = (offer + ((<uint32_t>1 << tcb.rcv_scale) - 1)) >> tcb.rcv_scale
    cdef seq_t edge
    if field > 65535:
        field = 65535
    edge = tcb.rcv_nxt + (field << tcb.rcv_scale)
    if seq_after(edge, tcb.rcv_adv):
        tcb.rcv_adv = edge
    return <uint16_t>field


cdef inline uint32_t sack_option_bytes(const Tcb *tcb, const TcbCold *cold, uint32_t room) noexcept nogil:
    """Octets for the SACK blocks that fit into `room` octets of options (RFC 2018 3)."""
    cdef uint32_t blocks = cold.sack_count + ((tcb.traits & TRAIT_DUPLICATE_DUE) != 0)
    cdef uint32_t fit
    if not tcb.flags & CONN_SACK or blocks == 0 or room < SACK_BYTES + 8:
        return 0
    fit = (room - SACK_BYTES) >> 3
    if blocks > fit:
        blocks = fit
    return SACK_BYTES + 8 * blocks


cdef void note_sent_ack(Tcp *tcp, Tcb *tcb) noexcept nogil:
    """An acknowledgment of everything received went out: nothing is owed any more."""
    tcb.rcv_acked = tcb.rcv_nxt
    tcb.flags &= ~<uint32_t>(CONN_ACK_NOW | CONN_ACK_DELAYED)
    tcb.ack_at = 0


cdef Sent emit(Tcp *tcp, uint32_t conn, uint32_t frame, uint8_t *payload, uint32_t payload_bytes, seq_t seq,
               uint8_t flags) noexcept nogil:
    """Write all headers in front of the payload and queue the packet; consumes one reference when SENT."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef const uint8_t *mac = next_hop_mac(tcp, tcb, cold)
    if mac == NULL:
        return SENT_NO_NEIGHBOUR
    cdef uint32_t stamps = TIMESTAMPS_BYTES if tcb.flags & CONN_TIMESTAMPS else 0
    cdef uint32_t room = 40 - stamps
    if payload_bytes != 0:
        room = 0 if payload_bytes >= tcb.mss else (tcb.mss - payload_bytes if tcb.mss - payload_bytes < room else room)
    cdef uint32_t sacks = sack_option_bytes(tcb, cold, room)
    cdef uint32_t header_bytes = TCP_BYTES + stamps + sacks
    cdef uint32_t tcp_bytes = header_bytes + payload_bytes
    cdef uint8_t *header = payload - header_bytes
    cdef uint8_t *options = header + TCP_BYTES
    cdef SackBlock[4] blocks                        # MAX_SACK_BLOCKS
    cdef bint may_be_marked = ecn_marks(tcb, seq, payload_bytes)
    if tcb.traits & TRAIT_ECN:
        flags |= ecn_flags(tcb, flags, may_be_marked)
    tcp_write_header(header, tcb.local_port, tcb.remote_port, seq, tcb.rcv_nxt, flags,
                     0 if flags & RST else advertise(tcp, tcb), header_bytes)
    if tcb.traits & TRAIT_URGENT_OUT:
        urgent_mark(tcp, conn, header, seq)
    if stamps:
        options += tcp_write_timestamps(options, timestamp_clock(tcp) + cold.ts_offset, tcb.ts_recent)
    if sacks:
        tcp_write_sack(options, blocks, dsack_blocks(tcp, conn, blocks, (sacks - SACK_BYTES) >> 3))
    cdef bint offload = finish_checksum(tcp, header, tcp_bytes, cold.template.pseudo)
    cdef uint8_t *packet = template_write(&cold.template, mac, header, tcp_bytes)
    if may_be_marked:
        template_mark(&cold.template, packet)
    queue_packet(tcp, frame, packet, <uint32_t>(header - packet) + tcp_bytes, header, offload)
    cold.segments_sent += 1
    if flags & ACK:
        note_sent_ack(tcp, tcb)
    if flags == ACK and train_may_begin(tcp, tcb, payload_bytes):
        train_begin(tcp, conn, packet, header, tcp_bytes, payload_bytes, seq, may_be_marked)
    return SENT


cdef Sent output_data(Tcp *tcp, uint32_t conn, uint32_t frame, uint8_t flags) noexcept nogil:
    cdef Frame *it = &tcp.pool.frames[frame]
    cdef Sent sent
    frame_ref(tcp.pool, frame)
    if train_takes(tcp, conn, it):
        train_add(tcp, conn, frame, flags)
    else:
        sent = emit(tcp, conn, frame, frame_chunk(tcp.pool, frame) + it.offset, it.length, it.seq, flags | ACK)
        if sent != SENT:
            frame_unref(tcp.pool, frame)
            return sent
    it.sent_ns = tcp.now_ns
    tcp.tcbs[conn].sent_tick = <uint32_t>(tcp.now_ns >> SENT_TICK_SHIFT)
    if tcp.tcbs[conn].traits & TRAIT_RATE:
        rate_sent(tcp, conn, frame)
    tcp.colds[conn].bytes_sent += it.length
    tcp.colds[conn].data_sent += 1
    tcp.state.counters.payload_out += it.length
    return SENT


cdef Sent output_control(Tcp *tcp, uint32_t conn, seq_t seq, uint8_t flags) noexcept nogil:
    cdef uint32_t frame = frame_take(tcp.pool)
    cdef Sent sent
    if frame == NO_FRAME:
        return SENT_NO_FRAME
    sent = emit(tcp, conn, frame, frame_chunk(tcp.pool, frame) + TX_HEADROOM, 0, seq, flags)
    if sent != SENT:
        frame_unref(tcp.pool, frame)
    return sent


cdef inline uint8_t *write_syn_options(Tcp *tcp, const Tcb *tcb, const TcbCold *cold, uint16_t mss,
                                       uint8_t *at) noexcept nogil:
    """What we offer with a SYN, or agree to with a SYN-ACK: only what the peer offered (RFC 7323 1.3, RFC 2018 2)."""
    cdef uint8_t may = OPTION_WINDOW_SCALE | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS
    if tcb.state == SYN_RECEIVED:
        may = cold.syn_options
    at += tcp_write_mss(at, mss)
    if may & OPTION_SACK_PERMITTED:
        at += tcp_write_sack_permitted(at)
    if may & OPTION_TIMESTAMPS:
        at += tcp_write_timestamps(at, timestamp_clock(tcp) + cold.ts_offset, tcb.ts_recent)
    if may & OPTION_WINDOW_SCALE:
        at += tcp_write_window_scale(at, tcb.rcv_scale)
    return at


cdef uint16_t output_mss(const Tcp *tcp, const Address *remote) noexcept nogil:
    """RFC 6691: what arrives may fill a packet; whoever sends takes the options off."""
    return <uint16_t>min(network_announced_mss(tcp.network, remote), tcp.state.limits.mss)


cdef uint16_t output_announced_mss(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef uint16_t mss = output_mss(tcp, &tcp.tcbs[conn].remote)
    cdef uint16_t wanted = rare_of(tcp, conn).settings.mss if tcp.tcbs[conn].traits & TRAIT_SETTINGS else 0
    return min(mss, wanted) if wanted else mss


cdef Sent output_syn(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef const uint8_t *mac = next_hop_mac(tcp, tcb, cold)
    cdef uint32_t frame
    if mac == NULL:
        return SENT_NO_NEIGHBOUR
    frame = frame_take(tcp.pool)
    if frame == NO_FRAME:
        return SENT_NO_FRAME
    cdef uint8_t *header = frame_chunk(tcp.pool, frame) + TX_HEADROOM
    cdef uint8_t *end = write_syn_options(tcp, tcb, cold, output_announced_mss(tcp, conn), header + TCP_BYTES)
    if fast_open_has_option(tcb):
        end += fast_open_write_option(tcp, conn, end)
    cdef uint32_t header_bytes = <uint32_t>(end - header)
    cdef uint32_t tcp_bytes = header_bytes
    if tcb.traits & TRAIT_FAST_OPEN:
        tcp_bytes += fast_open_payload(tcp, conn, header, header_bytes)
    cdef bint answering = tcb.state == SYN_RECEIVED
    cdef uint32_t window = window_of_syn(tcb)
    if tcb.rcv_adv - tcb.rcv_nxt < window or not answering:
        tcb.rcv_adv = tcb.rcv_nxt + window
    tcp_write_header(header, tcb.local_port, tcb.remote_port, cold.iss, tcb.rcv_nxt if answering else 0,
                     (SYN | ACK if answering else SYN) | ecn_syn_flags(tcp, conn), <uint16_t>window, header_bytes)
    cdef bint offload = finish_checksum(tcp, header, tcp_bytes, cold.template.pseudo)
    cdef uint8_t *packet = template_write(&cold.template, mac, header, tcp_bytes)
    queue_packet(tcp, frame, packet, <uint32_t>(header - packet) + tcp_bytes, header, offload)
    tcb.rcv_acked = tcb.rcv_nxt
    cold.segments_sent += 1
    return SENT


cdef void output_queue_answer(Tcp *tcp, const Segment *seg, uint32_t frame, uint8_t *header,
                              const uint8_t *end) noexcept nogil:
    cdef uint32_t tcp_bytes = <uint32_t>(end - header)
    cdef bint offload = finish_checksum(tcp, header, tcp_bytes, checksum_pseudo(&seg.dst, &seg.src, 0))
    cdef uint8_t *packet = template_answer(tcp.network, seg, header, tcp_bytes)
    queue_packet(tcp, frame, packet, <uint32_t>(header - packet) + tcp_bytes, header, offload)


cdef void output_answer(Tcp *tcp, const Segment *seg, seq_t number, seq_t ack, uint8_t flags, uint16_t window,
                        bint ts, uint32_t ts_val, uint32_t ts_ecr) noexcept nogil:
    cdef uint32_t frame = frame_take(tcp.pool)
    if frame == NO_FRAME:
        return
    cdef uint8_t *header = frame_chunk(tcp.pool, frame) + TX_HEADROOM
    cdef uint8_t *at = header + TCP_BYTES
    if ts:
        at += tcp_write_timestamps(at, ts_val, ts_ecr)
    tcp_write_header(header, seg.dst_port, seg.src_port, number, ack, flags, window, <uint32_t>(at - header))
    output_queue_answer(tcp, seg, frame, header, at)


cdef void output_reset_for(Tcp *tcp, const Segment *seg) noexcept nogil:
    if seg.flags & RST:
        return
    tcp.state.counters.resets_out += 1
    if seg.flags & ACK:
        output_answer(tcp, seg, seg.ack, 0, RST, 0, False, 0, 0)
    else:
        output_answer(tcp, seg, 0, seg.seq + segment_length(seg), RST | ACK, 0, False, 0, 0)


cdef uint32_t output_flush(Tcp *tcp) noexcept nogil:
    cdef uint32_t waiting, run, taken
    tcp.train.parts = 0
    while tcp.tx.head != tcp.tx.tail:
        waiting = tcp.tx.tail - tcp.tx.head
        run = tcp.tx.mask + 1 - (tcp.tx.head & tcp.tx.mask)     # up to the ring's end
        if run > waiting:
            run = waiting
        taken = tcp.link.transmit(tcp.link, &tcp.tx.ring[tcp.tx.head & tcp.tx.mask], run, tcp.now_ns)
        tcp.tx.head += taken
        if taken < run:
            break
    return tcp.tx.tail - tcp.tx.head
