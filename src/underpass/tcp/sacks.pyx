"""The receiver's SACK blocks."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport SACKS_KEPT, TcbCold
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto


cdef void sacks_note(TcbCold *cold, seq_t start, seq_t end) noexcept nogil:
    """Merge the blocks that touch the new one; the others follow in the order that they had."""
    cdef seq_t[8] kept
    cdef uint32_t count = 0
    cdef uint32_t i
    cdef seq_t left, right
    for i in range(cold.sack_count):
        left = cold.sack_recent[2 * i]
        right = cold.sack_recent[2 * i + 1]
        if seq_upto(left, end) and seq_upto(start, right):
            if seq_before(left, start):
                start = left
            if seq_after(right, end):
                end = right
        elif count < SACKS_KEPT - 1:
            kept[2 * count] = left
            kept[2 * count + 1] = right
            count += 1
    cold.sack_recent[0] = start
    cold.sack_recent[1] = end
    for i in range(2 * count):
        cold.sack_recent[2 + i] = kept[i]
    cold.sack_count = <unsigned short>(count + 1)


cdef void sacks_trim(TcbCold *cold, seq_t rcv_nxt) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t count = 0
    for i in range(cold.sack_count):
        if seq_upto(cold.sack_recent[2 * i + 1], rcv_nxt):
            continue
        cold.sack_recent[2 * count] = cold.sack_recent[2 * i]
        cold.sack_recent[2 * count + 1] = cold.sack_recent[2 * i + 1]
        count += 1
    cold.sack_count = <unsigned short>count
