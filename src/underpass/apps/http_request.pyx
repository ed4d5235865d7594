"""The request parser: one pass over each line, a table of octet classes, nothing copied.

It is strict where leniency has let requests be read in two ways: lines end in CRLF alone, no white space
before the colon, no folded lines, one length of the body. What it does not understand it answers with 400 and
the connection ends.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memset

cdef enum Class:
    TOKEN = 1                   # RFC 9110 5.6.2
    TARGET = 2                  # visible ASCII without '#': wider than RFC 3986, as browsers send queries
    VALUE = 4                   # RFC 9110 5.5: VCHAR, obs-text, SP, HTAB
    HOST = 8                    # RFC 3986 3.2: host and port

cdef enum:
    BAD_REQUEST = 400
    URI_TOO_LONG = 414
    FIELDS_TOO_LARGE = 431
    NOT_IMPLEMENTED = 501
    BAD_VERSION = 505
    LINE_DONE = 2               # a line was parsed, the head goes on
    LENGTH_DIGITS = 18          # a longer Content-Length does not fit, and nobody means it

cdef uint8_t[256] classes


cdef inline bint is_a(uint8_t octet, uint8_t which) noexcept nogil:
    return (classes[octet] & which) != 0


cdef inline bint same_name(const uint8_t *at, const char *lower, uint32_t count) noexcept nogil:
    """Whether the token at `at` is `lower`, in any case (RFC 9110 5.1)."""
    cdef uint32_t i
    for i in range(count):
        if (at[i] | 0x20) != <uint8_t>lower[i]:
            return False
    return True


cdef inline Span span(const uint8_t *base, const uint8_t *start, const uint8_t *end) noexcept nogil:
    cdef Span it
    it.at = <uint16_t>(start - base)
    it.count = <uint16_t>(end - start)
    return it


cdef void request_begin(Request *req) noexcept nogil:
    """Make ready for the first octet of a request."""
    memset(req, 0, sizeof(Request))


cdef int request_parse(Request *req, const uint8_t *at, uint32_t count) noexcept nogil:
    """Go on with a request of which `count` octets are there. A ParseResult or a status code."""
    cdef int result = LINE_DONE
    if req.scanned > req.parsed and memchr(at + req.scanned, c"\n", count - req.scanned) == NULL:
        req.scanned = count                             # a slow peer's octets: not worth a parse each
        return over_limit(req, count)
    while result == LINE_DONE:
        if req.fields_at == 0:
            result = request_line(req, at, at + count)
        else:
            result = field_line(req, at, at + count)
    if result == REQUEST_MORE:
        req.scanned = count
        return over_limit(req, count)
    if result == REQUEST_DONE:
        return check_head(req)
    return result


cdef int over_limit(const Request *req, uint32_t count) noexcept nogil:
    """REQUEST_MORE, or the status code when what is there is already too much."""
    if req.fields_at == 0:
        return URI_TOO_LONG if count - req.parsed >= LINE_LIMIT else REQUEST_MORE
    return FIELDS_TOO_LARGE if count - req.fields_at >= FIELDS_LIMIT else REQUEST_MORE


# The request line (RFC 9112 3)

cdef int request_line(Request *req, const uint8_t *base, const uint8_t *end) noexcept nogil:
    cdef const uint8_t *start = base + req.parsed
    cdef const uint8_t *at = start
    cdef const uint8_t *target
    cdef int result
    if at < end and at[0] == c"\r":
        return blank_line(req, at, end)
    while at < end and is_a(at[0], TOKEN):
        at += 1
    if at == end:
        return REQUEST_MORE
    if at == start or at[0] != c" ":
        return BAD_REQUEST
    req.method = method_of(start, <uint32_t>(at - start))
    target = at = at + 1
    while at < end and is_a(at[0], TARGET):
        at += 1
    if at == end:
        return REQUEST_MORE
    if at == target or at[0] != c" ":
        return BAD_REQUEST
    if at - start >= LINE_LIMIT - 11:                   # and a space, the version and CRLF
        return URI_TOO_LONG
    result = version_of(req, at + 1, end)
    if result != LINE_DONE:
        return result
    req.line = span(base, start, at + 9)
    req.parsed = req.fields_at = <uint32_t>(at + 11 - base)
    return target_of(req, base, target, at)


cdef int blank_line(Request *req, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """RFC 9112 2.2: empty lines before the request line are to be ignored; a few are."""
    if end - at < 2:
        return REQUEST_MORE
    if at[1] != c"\n" or req.blanks == BLANK_LIMIT:
        return BAD_REQUEST
    req.blanks += 1
    req.parsed += 2
    return LINE_DONE


cdef inline uint8_t method_of(const uint8_t *at, uint32_t count) noexcept nogil:
    """Methods are case-sensitive (RFC 9110 9.1)."""
    if count == 3 and memcmp(at, b"GET", 3) == 0:
        return METHOD_GET
    if count == 4 and memcmp(at, b"HEAD", 4) == 0:
        return METHOD_HEAD
    return other_method(at, count)


cdef uint8_t other_method(const uint8_t *at, uint32_t count) noexcept nogil:
    if ((count == 3 and memcmp(at, b"PUT", 3) == 0) or (count == 4 and memcmp(at, b"POST", 4) == 0)
            or (count == 5 and (memcmp(at, b"TRACE", 5) == 0 or memcmp(at, b"PATCH", 5) == 0))
            or (count == 6 and memcmp(at, b"DELETE", 6) == 0)
            or (count == 7 and (memcmp(at, b"OPTIONS", 7) == 0 or memcmp(at, b"CONNECT", 7) == 0))):
        return METHOD_REFUSED
    return METHOD_UNKNOWN


cdef inline int version_of(Request *req, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """HTTP-version and the line's end (RFC 9112 2.3)."""
    if end - at >= 10 and memcmp(at, b"HTTP/1.1\r\n", 10) == 0:
        req.minor = 1
        return LINE_DONE
    return other_version(req, at, end)


cdef int other_version(Request *req, const uint8_t *at, const uint8_t *end) noexcept nogil:
    cdef const char *form = b"HTTP/0.0\r\n"             # 0: any digit
    cdef uint32_t i
    for i in range(10):
        if at + i == end:
            return REQUEST_MORE
        if form[i] == c"0":
            if at[i] < c"0" or at[i] > c"9":
                return BAD_REQUEST
        elif at[i] != <uint8_t>form[i]:
            return BAD_REQUEST
    if at[5] != c"1":
        return BAD_VERSION
    req.minor = at[7] - c"0"
    return LINE_DONE


cdef int target_of(Request *req, const uint8_t *base, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Origin-form or absolute-form (RFC 9112 3.2); the other two belong to methods that are refused."""
    if req.method >= METHOD_REFUSED:
        return LINE_DONE
    if at[0] != c"/":
        at = skip_authority(at, end)
        if at == NULL:
            return BAD_REQUEST
    cdef const uint8_t *mark = <const uint8_t *>memchr(at, c"?", end - at)
    if mark != NULL:
        req.query = span(base, mark + 1, end)
        end = mark
    req.path = span(base, at, end)
    if is_plain(at, end):
        req.flags |= REQUEST_PLAIN_PATH
    return LINE_DONE


cdef const uint8_t *skip_authority(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """The path of an absolute-form target, or NULL (RFC 9112 3.2.2: servers MUST accept it)."""
    if end - at > 7 and same_name(at, b"http", 4) and memcmp(at + 4, b"://", 3) == 0:
        at += 7
    elif end - at > 8 and same_name(at, b"https", 5) and memcmp(at + 5, b"://", 3) == 0:
        at += 8
    else:
        return NULL
    cdef const uint8_t *host = at
    while at < end and is_a(at[0], HOST):
        at += 1
    if at == host or (at < end and at[0] != c"/" and at[0] != c"?"):
        return NULL
    return at


cdef bint is_plain(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Whether nothing in the path needs decoding. Names that start with a dot go the long way too."""
    cdef uint8_t before = 0
    while at < end:
        if at[0] == c"%" or (before == c"/" and (at[0] == c"/" or at[0] == c".")):
            return False
        before = at[0]
        at += 1
    return True


# Field lines (RFC 9112 5)

cdef int field_line(Request *req, const uint8_t *base, const uint8_t *end) noexcept nogil:
    cdef const uint8_t *name = base + req.parsed
    cdef const uint8_t *at = name
    cdef const uint8_t *value
    cdef const uint8_t *colon
    while at < end and is_a(at[0], TOKEN):
        at += 1
    if at == end:
        return REQUEST_MORE
    if at == name and at[0] == c"\r":
        return end_of_head(req, at, end)
    if at == name or at[0] != c":":                     # RFC 9112 5.1, 5.2: no space before it, no folding
        return BAD_REQUEST
    colon = at
    at += 1
    while at < end and (at[0] == c" " or at[0] == c"\t"):
        at += 1
    value = at
    while at < end and is_a(at[0], VALUE):
        at += 1
    if end - at < 2:
        return REQUEST_MORE if at == end or at[0] == c"\r" else BAD_REQUEST
    if at[0] != c"\r" or at[1] != c"\n":
        return BAD_REQUEST
    req.parsed = <uint32_t>(at + 2 - base)
    req.fields += 1
    if req.fields > FIELD_COUNT_LIMIT or req.parsed - req.fields_at > FIELDS_LIMIT - 2:
        return FIELDS_TOO_LARGE
    while at > value and ((at - 1)[0] == c" " or (at - 1)[0] == c"\t"):
        at -= 1
    return take_field(req, base, name, <uint32_t>(colon - name), value, at)


cdef int end_of_head(Request *req, const uint8_t *at, const uint8_t *end) noexcept nogil:
    if end - at < 2:
        return REQUEST_MORE
    if at[1] != c"\n":
        return BAD_REQUEST
    req.parsed += 2
    return REQUEST_DONE


cdef int take_field(Request *req, const uint8_t *base, const uint8_t *name, uint32_t count,
                    const uint8_t *value,
                    const uint8_t *end) noexcept nogil:
    """Keep what the fields that matter here say; the others are skipped."""
    if count == 4 and same_name(name, b"host", 4):
        return take_host(req, value, end)
    if count == 10 and same_name(name, b"connection", 10):
        return take_connection(req, value, end)
    if count == 14 and same_name(name, b"content-length", 14):
        return take_length(req, value, end)
    if count == 17 and same_name(name, b"transfer-encoding", 17):
        return take_encoding(req, value, end)
    cdef int which = condition_of(name, count)
    if which != CONDITION_FIELDS:
        req.flags |= REQUEST_CONDITIONS if req.conditions[which].count == 0 else REQUEST_REPEATED
        req.conditions[which] = span(base, value, end)
    return LINE_DONE


cdef int condition_of(const uint8_t *name, uint32_t count) noexcept nogil:
    """A ConditionField, or CONDITION_FIELDS for any other name."""
    if count == 5 and same_name(name, b"range", 5):
        return RANGE
    if count == 8 and same_name(name, b"if-match", 8):
        return IF_MATCH
    if count == 8 and same_name(name, b"if-range", 8):
        return IF_RANGE
    if count == 13 and same_name(name, b"if-none-match", 13):
        return IF_NONE_MATCH
    if count == 17 and same_name(name, b"if-modified-since", 17):
        return IF_MODIFIED_SINCE
    if count == 19 and same_name(name, b"if-unmodified-since", 19):
        return IF_UNMODIFIED_SINCE
    return CONDITION_FIELDS


cdef int take_host(Request *req, const uint8_t *value, const uint8_t *end) noexcept nogil:
    """RFC 9112 3.2: one Host field, with a valid value."""
    while value < end:
        if not is_a(value[0], HOST):
            return BAD_REQUEST
        value += 1
    req.hosts += 1
    return LINE_DONE if req.hosts == 1 else BAD_REQUEST


cdef int take_connection(Request *req, const uint8_t *value, const uint8_t *end) noexcept nogil:
    """A list of options (RFC 9110 7.6.1), of which two mean something here."""
    cdef const uint8_t *option
    cdef uint32_t count
    while value < end:
        option = value
        while value < end and is_a(value[0], TOKEN):
            value += 1
        count = <uint32_t>(value - option)
        if count == 5 and same_name(option, b"close", 5):
            req.flags |= REQUEST_CLOSE
        elif count == 10 and same_name(option, b"keep-alive", 10):
            req.flags |= REQUEST_KEEP_ALIVE
        while value < end and not is_a(value[0], TOKEN):
            value += 1
    return LINE_DONE


cdef int take_length(Request *req, const uint8_t *value, const uint8_t *end) noexcept nogil:
    """RFC 9110 8.6, RFC 9112 6.3: digits, once; anything else is how requests are smuggled."""
    if req.flags & REQUEST_LENGTH or value == end or end - value > LENGTH_DIGITS:
        return BAD_REQUEST
    while value < end:
        if value[0] < c"0" or value[0] > c"9":
            return BAD_REQUEST
        req.content_length = req.content_length * 10 + (value[0] - c"0")
        value += 1
    req.flags |= REQUEST_LENGTH
    return LINE_DONE


cdef int take_encoding(Request *req, const uint8_t *value, const uint8_t *end) noexcept nogil:
    """RFC 9112 6.1: only chunked is understood, and only once."""
    if req.flags & REQUEST_CHUNKED:
        return BAD_REQUEST
    if end - value != 7 or not same_name(value, b"chunked", 7):
        return NOT_IMPLEMENTED
    req.flags |= REQUEST_CHUNKED
    return LINE_DONE


cdef int check_head(const Request *req) noexcept nogil:
    """What only the whole head shows."""
    if req.minor >= 1 and req.hosts == 0:
        return BAD_REQUEST                              # RFC 9112 3.2
    if req.flags & REQUEST_CHUNKED and (req.flags & REQUEST_LENGTH or req.minor == 0):
        return BAD_REQUEST                              # RFC 9112 6.1, 6.3
    return REQUEST_DONE


cdef int fill_table() except -1:
    """The classes of all octets."""
    token = b"!#$%&'*+-.^_`|~"
    host = b"-._~!$&'()*+,;=:%[]"
    for octet in range(256):
        alphanumeric = chr(octet).isascii() and chr(octet).isalnum()
        visible = 0x21 <= octet <= 0x7E
        classes[octet] = ((TOKEN if alphanumeric or octet in token else 0)
                          | (TARGET if visible and octet != ord("#") else 0)
                          | (VALUE if visible or octet >= 0x80 or octet in b" \t" else 0)
                          | (HOST if alphanumeric or octet in host else 0))
    return 0


fill_table()
