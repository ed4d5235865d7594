"""The language in which the engine is fuzzed: a step of a program is one octet of operation and its operands.

    0  raw frame        length 1, octets
    1  any segment      port 1, flags 1, sequence 1, acknowledgment 1, window 1, options length 1, payload 1,
                        options
    2  time passes      2^n microseconds, n 1: up to 38 hours
    3  application      what 1: on the chosen connection
    4  right segment    port 1, flags 1, sequence 1, acknowledgment 1, window 1, payload 1, how 1,
                        SACK blocks 2
    5  ICMP error       port 1, type 1, code 1, MTU 2, sequence 1: about a segment that the stack has sent
    6  socket option    which 1, value 1
    7  the reader       what 1: stops reading or reads all, and which connection is chosen
    8  Fast Open SYN    port 1, how 1, payload 1: a client's, with a cookie of ours or another
    9  Fast Open answer port 1, how 1, acknowledgment 1, payload 1: a server's SYN-ACK, perhaps with a cookie

Sequence and acknowledgment numbers are signed offsets from what would be right, so that short programs reach
deep into the states. A right segment has the options that the handshake agreed on, unless `how` says
otherwise. The acknowledgment of a Fast Open answer is one from all that our SYN carried.
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
    FAST_OPEN_SYN = 8
    FAST_OPEN_ANSWER = 9
    OPERATIONS = 10
    TIMES = 38                      # as a modulus
    LONGEST_OPTIONS = 41            # one more than a header has room for, as a modulus

cdef enum HowBits:                  # of a right segment
    HOW_BY_SEGMENTS = 1             # the offsets count 500 octets
    HOW_SMALL_WINDOW = 2            # the window counts octets, not 256 of them
    HOW_NO_TIMESTAMP = 4
    HOW_OLD_TIMESTAMP = 8
    HOW_BLOCKS_SHIFT = 4            # then two bits: how many SACK blocks

cdef enum FastOpenBits:             # of both; the first three choose the cookie
    COOKIE_NONE = 0
    COOKIE_REQUEST = 1              # of no octets
    COOKIE_LAST = 2                 # the one that the stack gave last; of a server: one of eight octets
    COOKIE_FIRST = 3                # the one that it gave first: of another day, perhaps
    COOKIE_CORRUPT = 4              # one bit of the last one is wrong
    COOKIE_SHORT = 5                # so many octets as the last four bits say
    COOKIE_KINDS = 8
    FAST_OPEN_PLAIN = 8             # none of the other options
    FAST_OPEN_AGAIN = 16            # the number of this conversation's last such SYN
    COOKIE_BYTES_SHIFT = 4          # of COOKIE_SHORT

cdef enum ConnectBits:              # of the application's step that connects
    CONNECT_FAST_OPEN = 32
    CONNECT_DATA_SHIFT = 6          # then two bits: hundreds of octets that are written at once


cdef inline uint32_t step_needs(const uint8_t *step, uint32_t left) noexcept nogil:
    """Octets of the first of the steps that are left, perhaps more than there are."""
    cdef uint32_t[10] sizes = [2, 8, 2, 2, 10, 7, 3, 2, 4, 5]
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
