"""HTTP dates (RFC 9110 5.6.7), in seconds since 1970-01-01 UTC."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    DATE_OCTETS = 29            # an IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
    LOG_DATE_OCTETS = 26        # the Common Log Format's: 06/Nov/1994:08:49:37 +0000

cdef void date_format(int64_t seconds, uint8_t *into) noexcept nogil
cdef void date_format_log(int64_t seconds, uint8_t *into) noexcept nogil
# Any of the three formats of RFC 9110 5.6.7; -1: none of them. `now_s` decides the century of a two-digit
# year.
cdef int64_t date_parse(const uint8_t *at, uint32_t count, int64_t now_s) noexcept nogil
