"""Writing text into a fixed room. What does not fit is left out and remembered in `full`, never written."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef struct Text:
    uint8_t *octets
    uint32_t room
    uint32_t count
    bint full


cdef inline void text_begin(Text *text, uint8_t *octets, uint32_t room) noexcept nogil:
    text.octets = octets
    text.room = room
    text.count = 0
    text.full = False


cdef inline void text_put(Text *text, const void *octets, uint32_t count) noexcept nogil:
    if count > text.room - text.count:
        text.full = True
        return
    memcpy(text.octets + text.count, octets, count)
    text.count += count


cdef inline void text_number(Text *text, uint64_t value) noexcept nogil:
    """Decimal, without leading zeros."""
    cdef uint8_t[20] digits
    cdef uint32_t at = 20
    while True:
        at -= 1
        digits[at] = <uint8_t>(48 + value % 10)
        value //= 10
        if value == 0:
            break
    text_put(text, &digits[at], 20 - at)


cdef inline void text_hex(Text *text, uint64_t value) noexcept nogil:
    cdef uint8_t[16] digits
    cdef uint32_t at = 16
    cdef uint8_t nibble
    while True:
        at -= 1
        nibble = value & 15
        digits[at] = nibble + (48 if nibble < 10 else 87)
        value >>= 4
        if value == 0:
            break
    text_put(text, &digits[at], 16 - at)
