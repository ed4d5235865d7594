"""Make and check SYN cookies. Nothing is kept for a SYN that is answered by one."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME, TX_HEADROOM, frame_chunk, frame_take
from underpass.tcp.isn cimport isn_answer_offset, timestamp_clock
from underpass.tcp.output cimport output_mss, output_queue_answer
from underpass.tcp.tcb cimport Preset, Tcp
from underpass.tcp.window cimport window_scale_for
from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.segment cimport (
    ACK, CWR, ECE, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE, SYN, Segment,
)
from underpass.wire.seq cimport seq_t
from underpass.wire.siphash cimport siphash24
from underpass.wire.tcp cimport (
    TCP_BYTES, tcp_write_header, tcp_write_mss, tcp_write_sack_permitted, tcp_write_timestamps, tcp_write_window_scale,
)

cdef enum:
    MSS_BITS = 3
    MSS_VALUES = 8
    COUNT_BIT = 8
    HASH_MASK = 0xFFFFFFF0
    OPTIONS_SHIFT = 8
    MSS_DEFAULT_V4 = 536            # RFC 9293 3.7.1
    MSS_DEFAULT_V6 = 1220

cdef uint64_t PERIOD_NS = <uint64_t>COOKIE_PERIOD_S * 1000000000

# Ethernet with its usual tunnels, the defaults of both families, and jumbo frames.
cdef uint16_t[8] OFFERS = [COOKIE_MSS_MIN, 536, 1220, 1360, 1400, 1440, 1460, 8940]

cdef struct HashedSyn:              # 48 octets, no padding
    Address local
    Address remote
    uint16_t local_port
    uint16_t remote_port
    seq_t irs
    uint32_t count
    uint32_t mss                    # index in OFFERS, and what the timestamp carries


cdef uint32_t cookie_options(const Segment *syn, bint ecn) noexcept nogil:
    cdef uint32_t options = COOKIE_STAMPED | COOKIE_NO_SCALE
    if not syn.options & OPTION_TIMESTAMPS:
        return 0
    if syn.options & OPTION_WINDOW_SCALE:
        options = COOKIE_STAMPED | syn.window_scale
    if syn.options & OPTION_SACK_PERMITTED:
        options |= COOKIE_SACK
    if ecn and syn.flags & (ECE | CWR) == ECE | CWR:
        options |= COOKIE_ECN
    return options


cdef uint32_t cookie_stamp(uint32_t ts_val, uint32_t options) noexcept nogil:
    """The latest TSval up to this one that ends in those bits: later segments must not carry an older one."""
    cdef uint32_t stamp = (ts_val & ~<uint32_t>COOKIE_BITS) | (options & COOKIE_BITS)
    return stamp - (COOKIE_BITS + 1) if <int32_t>(stamp - ts_val) > 0 else stamp


cdef seq_t cookie_make(const Tcp *tcp, const Segment *syn, uint32_t options) noexcept nogil:
    cdef uint32_t mss = MSS_DEFAULT_V4 if address_is_v4(&syn.src) else MSS_DEFAULT_V6
    cdef uint32_t index = MSS_VALUES - 1
    if syn.options & OPTION_MSS:
        mss = syn.mss
    while index > 0 and OFFERS[index] > mss:
        index -= 1
    return _cookie(tcp, syn, syn.seq, _count(tcp), index | options << OPTIONS_SHIFT)


cdef inline uint32_t _options_back(const Segment *ack) noexcept nogil:
    return COOKIE_STAMPED | (ack.ts_ecr & COOKIE_BITS) if ack.options & OPTION_TIMESTAMPS else 0


cdef void _rebuild(const Segment *ack, uint32_t index, uint32_t options, Segment *syn) noexcept nogil:
    syn[0] = ack[0]
    syn.seq = ack.seq - 1
    syn.flags = SYN | ECE | CWR if options & COOKIE_ECN else SYN
    syn.options = OPTION_MSS
    syn.mss = OFFERS[index]
    if not options:
        return
    syn.options |= OPTION_TIMESTAMPS            # TSval: the ACK's, which is newer
    if options & COOKIE_SACK:
        syn.options |= OPTION_SACK_PERMITTED
    if options & COOKIE_SCALE != COOKIE_NO_SCALE:
        syn.options |= OPTION_WINDOW_SCALE
        syn.window_scale = <uint8_t>(options & COOKIE_SCALE)


cdef bint cookie_check(const Tcp *tcp, const Segment *ack, Segment *syn) noexcept nogil:
    cdef seq_t cookie = ack.ack - 1
    cdef uint32_t index = cookie & (MSS_VALUES - 1)
    cdef uint32_t count = _count(tcp)
    cdef uint32_t options = _options_back(ack)
    if (count ^ (cookie >> MSS_BITS)) & 1:
        count -= 1
    if cookie != _cookie(tcp, ack, ack.seq - 1, count, index | options << OPTIONS_SHIFT):
        return False
    _rebuild(ack, index, options, syn)
    return True


cdef inline uint8_t *_write_options(Tcp *tcp, const Segment *syn, uint32_t options, uint8_t *at) noexcept nogil:
    """What the cookie's timestamp lets us agree to, with the timestamp."""
    if options & COOKIE_SACK:
        at += tcp_write_sack_permitted(at)
    at += tcp_write_timestamps(at, cookie_stamp(timestamp_clock(tcp) + isn_answer_offset(tcp, syn), options), syn.ts_val)
    if options & COOKIE_SCALE != COOKIE_NO_SCALE:
        at += tcp_write_window_scale(at, window_scale_for(tcp.state.limits.rcv_bytes))
    return at


cdef void cookie_send(Tcp *tcp, const Segment *syn, const Preset *preset, bint ecn) noexcept nogil:
    cdef uint32_t options = cookie_options(syn, ecn)
    cdef uint32_t frame = frame_take(tcp.pool)
    cdef uint32_t window = min(preset.rcv_limit, <uint32_t>65535)
    cdef uint16_t mss = output_mss(tcp, &syn.src)
    cdef uint8_t flags = SYN | ACK | ECE if options & COOKIE_ECN else SYN | ACK
    if frame == NO_FRAME:
        return
    cdef uint8_t *header = frame_chunk(tcp.pool, frame) + TX_HEADROOM
    cdef uint8_t *at = header + TCP_BYTES
    at += tcp_write_mss(at, min(mss, preset.settings.mss) if preset.settings.mss else mss)
    if options:
        at = _write_options(tcp, syn, options, at)
    tcp_write_header(header, syn.dst_port, syn.src_port, cookie_make(tcp, syn, options), syn.seq + 1, flags,
                     <uint16_t>window, <uint32_t>(at - header))
    tcp.state.counters.cookies_sent += 1
    tcp.state.counters.cookies_stamped += options != 0
    tcp.state.cookie_pressure_ns = tcp.now_ns
    output_queue_answer(tcp, syn, frame, header, at)


cdef inline uint32_t _count(const Tcp *tcp) noexcept nogil:
    return <uint32_t>(tcp.now_ns // PERIOD_NS)


cdef seq_t _cookie(const Tcp *tcp, const Segment *seg, seq_t irs, uint32_t count,
                   uint32_t carried) noexcept nogil:
    cdef HashedSyn key
    cdef uint32_t hashed
    key.local = seg.dst
    key.remote = seg.src
    key.local_port = seg.dst_port
    key.remote_port = seg.src_port
    key.irs = irs
    key.count = count
    key.mss = carried
    hashed = <uint32_t>siphash24(&tcp.state.cookie_key, <const uint8_t *>&key, sizeof(HashedSyn))
    return (hashed & HASH_MASK) | (COUNT_BIT if count & 1 else 0) | (carried & (MSS_VALUES - 1))
