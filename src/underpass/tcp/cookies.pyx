"""Make and check SYN cookies. Nothing is kept for a SYN that is answered by one."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.segment cimport OPTION_MSS, Segment
from underpass.wire.seq cimport seq_t
from underpass.wire.siphash cimport siphash24

cdef enum:
    MSS_BITS = 3
    MSS_VALUES = 8
    COUNT_BIT = 8
    HASH_MASK = 0xFFFFFFF0
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
    uint32_t mss


cdef seq_t cookie_make(const Tcp *tcp, const Segment *syn) noexcept nogil:
    cdef uint32_t mss = MSS_DEFAULT_V4 if address_is_v4(&syn.src) else MSS_DEFAULT_V6
    cdef uint32_t index = MSS_VALUES - 1
    if syn.options & OPTION_MSS:
        mss = syn.mss
    while index > 0 and OFFERS[index] > mss:
        index -= 1
    return _cookie(tcp, syn, syn.seq, _count(tcp), index)


cdef uint16_t cookie_check(const Tcp *tcp, const Segment *ack) noexcept nogil:
    cdef seq_t cookie = ack.ack - 1
    cdef uint32_t index = cookie & (MSS_VALUES - 1)
    cdef uint32_t count = _count(tcp)
    if (count ^ (cookie >> MSS_BITS)) & 1:
        count -= 1
    if cookie != _cookie(tcp, ack, ack.seq - 1, count, index):
        return 0
    return OFFERS[index]


cdef inline uint32_t _count(const Tcp *tcp) noexcept nogil:
    return <uint32_t>(tcp.now_ns // PERIOD_NS)


cdef seq_t _cookie(const Tcp *tcp, const Segment *seg, seq_t irs, uint32_t count,
                   uint32_t index) noexcept nogil:
    cdef HashedSyn key
    cdef uint32_t hashed
    key.local = seg.dst
    key.remote = seg.src
    key.local_port = seg.dst_port
    key.remote_port = seg.src_port
    key.irs = irs
    key.count = count
    key.mss = index
    hashed = <uint32_t>siphash24(&tcp.state.cookie_key, <const uint8_t *>&key, sizeof(HashedSyn))
    return (hashed & HASH_MASK) | (COUNT_BIT if count & 1 else 0) | index
