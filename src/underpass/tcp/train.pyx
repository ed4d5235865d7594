"""Consecutive segments of a connection in one packet."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.ip.template cimport template_lengthen
from underpass.link.frames cimport Frame
from underpass.link.link cimport DESC_CONTINUES, DESC_SEGMENTS, Desc
from underpass.tcp.tcb cimport TcbCold, Tcp, Train
from underpass.wire.segment cimport FIN, PSH
from underpass.wire.seq cimport seq_t
from underpass.wire.tcp cimport TCP_AT_FLAGS, tcp_write_partial


cdef void train_begin(Tcp *tcp, uint32_t conn, uint8_t *packet, uint8_t *header, uint32_t tcp_bytes,
                      uint32_t payload_bytes, seq_t seq, bint marked) noexcept nogil:
    tcp.train = Train(parts=1, conn=conn, at=tcp.tx.tail - 1, end=tcp.tx.tail, next_seq=seq + payload_bytes,
                      ack=tcp.tcbs[conn].rcv_nxt, payload_bytes=payload_bytes, tcp_bytes=tcp_bytes,
                      packet=packet, header=header, marked=marked)


cdef void train_add(Tcp *tcp, uint32_t conn, uint32_t frame, uint8_t flags) noexcept nogil:
    """The headers are changed where they stand: the link has not seen them yet."""
    cdef Train *train = &tcp.train
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef const Frame *it = &tcp.pool.frames[frame]
    cdef Desc *first = &tcp.tx.ring[train.at & tcp.tx.mask]
    cdef Desc *desc = &tcp.tx.ring[tcp.tx.tail & tcp.tx.mask]
    tcp.state.counters.trains += train.parts == 1
    first.flags |= DESC_SEGMENTS
    first.header_bytes = <uint8_t>(first.length - train.payload_bytes)
    (desc - 1).flags |= DESC_CONTINUES
    desc.frame = frame
    desc.offset = it.offset
    desc.length = it.length
    desc.flags = desc.queue = desc.csum_start = desc.csum_offset = desc.header_bytes = 0
    tcp.tx.tail += 1
    train.tcp_bytes += it.length
    train.header[TCP_AT_FLAGS] |= flags & (PSH | FIN)
    tcp_write_partial(train.header, train.tcp_bytes, cold.template.pseudo)
    template_lengthen(&cold.template, train.packet, train.tcp_bytes)
    train.next_seq += it.length
    train.end = tcp.tx.tail
    # A short one, or one that ends what there is, is the last.
    train.parts = train.parts + 1 if it.length == train.payload_bytes and not flags & (PSH | FIN) else 0
    cold.segments_sent += 1
    tcp.state.counters.segments_out += 1
