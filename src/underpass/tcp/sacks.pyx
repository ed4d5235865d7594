"""The receiver's SACK blocks."""
from libc.stdint cimport uint32_t

from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport SACKS_KEPT, TcbCold, Tcp
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto


cdef void sacks_note(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil:
    """Merge the blocks that touch the new one; the others follow in the order that they had."""
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef seq_t *recent = rare_of(tcp, conn).sack_recent
    cdef seq_t[8] kept
    cdef uint32_t count = 0
    cdef uint32_t i
    cdef seq_t left, right
    for i in range(cold.sack_count):
        left = recent[2 * i]
        right = recent[2 * i + 1]
        if seq_upto(left, end) and seq_upto(start, right):
            if seq_before(left, start):
                start = left
            if seq_after(right, end):
                end = right
        elif count < SACKS_KEPT - 1:
            kept[2 * count] = left
            kept[2 * count + 1] = right
            count += 1
    recent[0] = start
    recent[1] = end
    for i in range(2 * count):
        recent[2 + i] = kept[i]
    cold.sack_count = <unsigned short>(count + 1)


cdef void sacks_trim(Tcp *tcp, uint32_t conn, seq_t rcv_nxt) noexcept nogil:
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef seq_t *recent = rare_of(tcp, conn).sack_recent
    cdef uint32_t i
    cdef uint32_t count = 0
    for i in range(cold.sack_count):
        if seq_upto(recent[2 * i + 1], rcv_nxt):
            continue
        recent[2 * count] = recent[2 * i]
        recent[2 * count + 1] = recent[2 * i + 1]
        count += 1
    cold.sack_count = <unsigned short>count
