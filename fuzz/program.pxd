"""The language in which the engine is fuzzed: a step of a program is one octet of operation and its operands.

    0  raw frame        length 1, octets
    1  any segment      port 1, flags 1, sequence 1, acknowledgment 1, window 1, options length 1, payload 1,
                        options
    2  time passes      2^n microseconds, n 1
    3  application      what 1: on the chosen connection
    4  right segment    port 1, flags 1, sequence 1, acknowledgment 1, window 1, payload 1, how 1,
                        SACK blocks 2
    5  ICMP error       port 1, type 1, code 1, MTU 2, sequence 1: about a segment that the stack has sent
    6  socket option    which 1, value 1
    7  the reader       what 1: stops reading or reads all, and which connection is chosen

Sequence and acknowledgment numbers are signed offsets from what would be right, so that short programs reach
deep into the states. A right segment has the options that the handshake agreed on, unless `how` says
otherwise.
"""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    RAW_FRAME = 0
    ANY_SEGMENT = 1
    TIME_PASSES = 2
    APPLICATION = 3
    RIGHT_SEGMENT = 4
    ICMP_ERROR = 5
    SOCKET_OPTION = 6
    READER = 7
    OPERATIONS = 8
    LONGEST_OPTIONS = 41            # one more than a header has room for, as a modulus

cdef enum HowBits:                  # of a right segment
    HOW_BY_SEGMENTS = 1             # the offsets count 500 octets
    HOW_SMALL_WINDOW = 2            # the window counts octets, not 256 of them
    HOW_NO_TIMESTAMP = 4
    HOW_OLD_TIMESTAMP = 8
    HOW_BLOCKS_SHIFT = 4            # then two bits: how many SACK blocks


cdef inline uint32_t step_needs(const uint8_t *step, uint32_t left) noexcept nogil:
    """Octets of the first of the steps that are left, perhaps more than there are."""
    cdef uint32_t[8] sizes = [2, 8, 2, 2, 10, 7, 3, 2]
    cdef uint32_t bytes = sizes[step[0] % OPERATIONS]
    if bytes > left:
        return bytes
    if step[0] % OPERATIONS == RAW_FRAME:
        bytes += step[1]
    elif step[0] % OPERATIONS == ANY_SEGMENT:
        bytes += step[6] % LONGEST_OPTIONS
    return bytes


cdef inline uint32_t step_bytes(const uint8_t *step, uint32_t left) noexcept nogil:
    """Octets of the first of the steps that are left; where it is cut off: all that is left."""
    cdef uint32_t bytes = step_needs(step, left)
    return bytes if bytes < left else left
