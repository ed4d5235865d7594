"""Answers of an HTTP/1.1 server, line by line (RFC 9112)."""
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *, const char *, size_t)

cdef enum:
    LF = 10
    CR = 13
    SP = 32
    HT = 9


cdef void response_start(Response *response, bint to_head) noexcept nogil:
    response.remaining = 0
    response.body_bytes = 0
    response.head_bytes = 0
    response.status = 0
    response.state = RESPONSE_STATUS_LINE
    response.flags = RESPONSE_TO_HEAD if to_head else 0
    response.line_bytes = 0


cdef uint32_t response_take(Response *response, const uint8_t *octets, uint32_t length) noexcept nogil:
    if length == 0 or response.state >= RESPONSE_DONE:
        return 0
    if response_in_body(response):
        return take_body(response, length)
    return take_line(response, octets, length)


cdef uint32_t take_body(Response *response, uint32_t length) noexcept nogil:
    if response.state == RESPONSE_UNTIL_CLOSE:
        response.body_bytes += length
        return length
    if length > response.remaining:
        length = <uint32_t>response.remaining
    response.remaining -= length
    response.body_bytes += length
    if response.remaining == 0:
        response.state = RESPONSE_DONE if response.state == RESPONSE_BODY else RESPONSE_CHUNK_END
    return length


cdef uint32_t take_line(Response *response, const uint8_t *octets, uint32_t length) noexcept nogil:
    """Up to and with the next line feed. A line that lies whole in `octets` is read in place."""
    cdef const uint8_t *found = <const uint8_t *>memchr(octets, LF, length)
    cdef uint32_t used = <uint32_t>(found - octets) + 1 if found != NULL else length
    response.head_bytes += used
    if response.head_bytes > RESPONSE_HEAD_LIMIT:
        response.state = RESPONSE_MALFORMED
    elif found != NULL and response.line_bytes == 0:
        read_line(response, octets, used - 1)
    else:
        gather(response, octets, used)
        if found != NULL:
            finish_gathered(response)
    return used


cdef void gather(Response *response, const uint8_t *octets, uint32_t count) noexcept nogil:
    """Keep the line's beginning; line_bytes goes on counting past what is kept."""
    cdef uint32_t kept = response.line_bytes
    if kept < RESPONSE_LINE_KEPT:
        memcpy(response.line + kept, octets, min(count, RESPONSE_LINE_KEPT - kept))
    response.line_bytes += count


cdef void finish_gathered(Response *response) noexcept nogil:
    cdef uint32_t length = min(response.line_bytes - 1, RESPONSE_LINE_KEPT)
    response.line_bytes = 0
    read_line(response, response.line, length)


cdef void read_line(Response *response, const uint8_t *line, uint32_t length) noexcept nogil:
    if length and line[length - 1] == CR:           # RFC 9112 2.2: a bare LF ends a line too
        length -= 1
    if response.state == RESPONSE_STATUS_LINE:
        read_status(response, line, length)
    elif response.state == RESPONSE_FIELDS:
        if length == 0:
            end_of_fields(response)
        else:
            read_field(response, line, length)
    elif response.state == RESPONSE_CHUNK_LINE:
        read_chunk_size(response, line, length)
    elif response.state == RESPONSE_CHUNK_END:      # RFC 9112 7.1: CRLF behind each chunk's octets
        response.state = RESPONSE_CHUNK_LINE if length == 0 else RESPONSE_MALFORMED
        response.head_bytes = 0
    elif length == 0:                               # the end of the trailer section
        response.state = RESPONSE_DONE


cdef void read_status(Response *response, const uint8_t *line, uint32_t length) noexcept nogil:
    """RFC 9112 4: HTTP/1.x SP three digits [SP reason]."""
    cdef uint32_t i
    cdef uint32_t status = 0
    response.state = RESPONSE_MALFORMED
    if length < 12 or strncasecmp(<const char *>line, b"HTTP/1.", 7) != 0 or line[8] != SP:
        return
    for i in range(9, 12):
        if line[i] < 48 or line[i] > 57:
            return
        status = status * 10 + line[i] - 48
    if status < 100 or (length > 12 and line[12] != SP):
        return
    response.status = <uint16_t>status
    response.state = RESPONSE_FIELDS
    if line[7] == 48:                               # RFC 9112 9.3: HTTP/1.0 closes
        response.flags |= RESPONSE_CLOSE


cdef uint32_t field_value(const uint8_t *line, uint32_t length, const char *name,
                          uint32_t name_bytes) noexcept nogil:
    """Where the value begins when the field is the named one, else 0."""
    cdef uint32_t at = name_bytes + 1
    if length < at or line[name_bytes] != 58 or strncasecmp(<const char *>line, name, name_bytes) != 0:
        return 0
    while at < length and (line[at] == SP or line[at] == HT):
        at += 1
    return at


cdef void read_field(Response *response, const uint8_t *line, uint32_t length) noexcept nogil:
    cdef uint32_t at
    while length and (line[length - 1] == SP or line[length - 1] == HT):
        length -= 1
    at = field_value(line, length, b"content-length", 14)
    if at:
        read_length(response, line + at, length - at)
        return
    at = field_value(line, length, b"transfer-encoding", 17)
    if at:
        if length - at == 7 and strncasecmp(<const char *>line + at, b"chunked", 7) == 0:
            response.flags |= RESPONSE_CHUNKED
        else:
            response.flags |= RESPONSE_ENCODED | RESPONSE_CLOSE
        return
    at = field_value(line, length, b"connection", 10)
    if at:
        read_connection(response, line + at, length - at)


cdef void read_connection(Response *response, const uint8_t *value, uint32_t length) noexcept nogil:
    """RFC 9112 9.3: `close` anywhere in the list closes; `keep-alive` lets HTTP/1.0 stay open."""
    cdef uint32_t at
    for at in range(length):
        if length - at >= 5 and strncasecmp(<const char *>value + at, b"close", 5) == 0:
            response.flags |= RESPONSE_CLOSE
            return
        if length - at >= 10 and strncasecmp(<const char *>value + at, b"keep-alive", 10) == 0:
            response.flags &= <uint8_t>~RESPONSE_CLOSE
            return


cdef void read_length(Response *response, const uint8_t *value, uint32_t length) noexcept nogil:
    """RFC 9110 8.6: digits only; RFC 9112 6.3: two that differ make the answer's end unknown."""
    cdef uint64_t total = 0
    cdef uint32_t i
    if length == 0 or length > 18:
        response.state = RESPONSE_MALFORMED
        return
    for i in range(length):
        if value[i] < 48 or value[i] > 57:
            response.state = RESPONSE_MALFORMED
            return
        total = total * 10 + value[i] - 48
    if response.flags & RESPONSE_LENGTH and total != response.remaining:
        response.state = RESPONSE_MALFORMED
        return
    response.flags |= RESPONSE_LENGTH
    response.remaining = total


cdef void end_of_fields(Response *response) noexcept nogil:
    """RFC 9112 6.3: how the body's length is found, in this order."""
    if 100 <= response.status < 200 and response.status != 101:
        response_start(response, response.flags & RESPONSE_TO_HEAD)     # RFC 9110 15.2: another follows
    elif (response.flags & RESPONSE_TO_HEAD or response.status == 204 or response.status == 304
          or response.status == 101):
        response.state = RESPONSE_DONE
    elif response.flags & RESPONSE_ENCODED:
        response.state = RESPONSE_UNTIL_CLOSE
    elif response.flags & RESPONSE_CHUNKED:
        response.state = RESPONSE_CHUNK_LINE
        response.head_bytes = 0
    elif response.flags & RESPONSE_LENGTH:
        response.state = RESPONSE_BODY if response.remaining else RESPONSE_DONE
    else:
        response.state = RESPONSE_UNTIL_CLOSE
        response.flags |= RESPONSE_CLOSE


cdef int hex_digit(uint8_t octet) noexcept nogil:
    if 48 <= octet <= 57:
        return octet - 48
    octet |= 32
    return octet - 87 if 97 <= octet <= 102 else -1


cdef void read_chunk_size(Response *response, const uint8_t *line, uint32_t length) noexcept nogil:
    """RFC 9112 7.1: hexadecimal digits, then perhaps extensions, which are ignored (7.1.1)."""
    cdef uint64_t size = 0
    cdef uint32_t at = 0
    while at < length and at < 16 and hex_digit(line[at]) >= 0:
        size = size << 4 | <uint64_t>hex_digit(line[at])
        at += 1
    if at == 0 or size > UINT64_MAX >> 8 or (at < length and line[at] not in b";\t "):
        response.state = RESPONSE_MALFORMED
        return
    response.remaining = size
    response.state = RESPONSE_CHUNK if size else RESPONSE_TRAILERS
    response.head_bytes = 0


cdef void response_end(Response *response) noexcept nogil:
    if response.state == RESPONSE_UNTIL_CLOSE:
        response.state = RESPONSE_DONE
    elif response.state != RESPONSE_DONE:
        response.state = RESPONSE_MALFORMED
