"""Paths of request targets, decoded and freed of dot segments in one pass (RFC 3986 2.1, 5.2.4, 6.2.2.3).

An escaped slash separates segments like any other, so that what is looked up is exactly what was checked for
`..`. Where more segments are climbed than there are, the request is refused rather than cut at the root.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef const char *HEX = b"0123456789ABCDEF"
cdef const char *UNESCAPED = b"-._~!$&'()*+,;=:@/"          # besides letters and digits (RFC 3986 3.3)
cdef uint8_t[256] plain


cdef inline int32_t hex_digit(uint8_t octet) noexcept nogil:
    if c"0" <= octet <= c"9":
        return octet - c"0"
    octet |= 0x20
    if c"a" <= octet <= c"f":
        return octet - c"a" + 10
    return -1


cdef inline int32_t escape(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """The octet that a percent sign and two digits stand for; -1 for none, and for NUL."""
    if end - at < 3 or hex_digit(at[1]) < 0 or hex_digit(at[2]) < 0:
        return -1
    cdef int32_t octet = hex_digit(at[1]) << 4 | hex_digit(at[2])
    return octet if octet != 0 else -1


cdef int32_t end_segment(uint8_t *into, uint32_t start, uint32_t n, bint slash) noexcept nogil:
    """Settle the segment into[start:n]; returns where the next one starts, or PATH_BAD."""
    if n == start:
        return <int32_t>start
    if n - start == 1 and into[start] == c".":
        return <int32_t>start
    if n - start == 2 and into[start] == c"." and into[start + 1] == c".":
        if start == 0:
            return PATH_BAD
        start -= 1
        while start > 0 and into[start - 1] != c"/":
            start -= 1
        return <int32_t>start
    if slash:
        into[n] = c"/"
        n += 1
    return <int32_t>n


cdef int32_t path_decode(const uint8_t *path, uint32_t count, uint8_t *into) noexcept nogil:
    """See http_path.pxd."""
    cdef const uint8_t *at = path
    cdef const uint8_t *end = path + count
    cdef uint32_t start = 0, n = 0
    cdef int32_t octet, next
    while at < end:
        octet = at[0]
        if octet == c"%":
            octet = escape(at, end)
            if octet < 0:
                return PATH_BAD
            at += 2
        at += 1
        if n == PATH_OCTETS:
            return PATH_LONG
        if octet != c"/":
            into[n] = <uint8_t>octet
            n += 1
            continue
        next = end_segment(into, start, n, True)
        if next < 0:
            return next
        start = n = <uint32_t>next
    return end_segment(into, start, n, False)


cdef uint32_t path_encode(const uint8_t *key, uint32_t count, uint8_t *into) noexcept nogil:
    """See http_path.pxd."""
    cdef uint32_t i, n = 0
    for i in range(count):
        if plain[key[i]]:
            into[n] = key[i]
            n += 1
        else:
            into[n] = c"%"
            into[n + 1] = HEX[key[i] >> 4]
            into[n + 2] = HEX[key[i] & 15]
            n += 3
    return n


cdef int fill_table() except -1:
    for octet in range(256):
        plain[octet] = chr(octet).isascii() and chr(octet).isalnum()
    for octet in <bytes>UNESCAPED:
        plain[octet] = 1
    return 0


fill_table()
