"""Numbers that rise with time for one four-tuple and cannot be guessed for another (RFC 6528 3)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t
from underpass.wire.siphash cimport siphash24

cdef enum:
    TICK_NS = 4000                  # RFC 9293 3.4.1: the clock of M advances every 4 us

cdef enum Purpose:                  # keeps the two uses of one secret apart
    SEQUENCE_NUMBER = 1
    TIMESTAMP_OFFSET = 2

cdef struct HashedTuple:            # 40 octets, no padding
    Address local
    Address remote
    uint16_t local_port
    uint16_t remote_port
    uint32_t purpose


cdef seq_t isn_choose(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    return <seq_t>(tcp.now_ns // TICK_NS) + _hash(tcp, &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port,
                                                  SEQUENCE_NUMBER)


cdef uint32_t isn_timestamp_offset(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    return _hash(tcp, &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port, TIMESTAMP_OFFSET)


cdef uint32_t isn_answer_offset(const Tcp *tcp, const Segment *seg) noexcept nogil:
    return _hash(tcp, &seg.dst, seg.dst_port, &seg.src, seg.src_port, TIMESTAMP_OFFSET)


cdef uint32_t _hash(const Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                    uint16_t remote_port, uint32_t purpose) noexcept nogil:
    cdef HashedTuple key
    key.local = local[0]
    key.remote = remote[0]
    key.local_port = local_port
    key.remote_port = remote_port
    key.purpose = purpose
    return <uint32_t>siphash24(&tcp.state.secret, <const uint8_t *>&key, sizeof(HashedTuple))
