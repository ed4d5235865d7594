"""Preconditions in the order of RFC 9110 13.2.2, then the range.

Of several ranges in one request none is taken: the whole file is sent, as RFC 9110 14.2 allows. A field that
does not parse, or stands there twice, counts as not sent.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from underpass.apps.http_date cimport date_parse
from underpass.apps.http_request cimport (
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, METHOD_GET, RANGE,
    REQUEST_CONDITIONS,
    REQUEST_REPEATED, Request, Span,
)

cdef enum:
    OK = 200
    PARTIAL_CONTENT = 206
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412
    RANGE_NOT_SATISFIABLE = 416

cdef enum:
    NO_NUMBER = 0xFFFFFFFFFFFFFFFF
    BIGGEST_NUMBER = 0x0FFFFFFFFFFFFFFF      # what more digits stand for

cdef struct Cursor:
    const uint8_t *at
    const uint8_t *end


cdef inline Cursor cursor(const uint8_t *base, Span where) noexcept nogil:
    cdef Cursor it
    it.at = base + where.at
    it.end = it.at + where.count
    return it


cdef Selection select(const Request *req, const uint8_t *base, const Representation *file,
                      int64_t now_s) noexcept nogil:
    """See http_conditions.pxd."""
    cdef Selection choice
    choice.status = OK
    choice.first = 0
    choice.end = file.size
    if not req.flags & REQUEST_CONDITIONS or req.flags & REQUEST_REPEATED:
        return choice
    choice.status = precondition(req, base, file, now_s)
    if choice.status == OK and req.method == METHOD_GET and req.conditions[<int>RANGE].count:
        if range_applies(req, base, file, now_s):
            choose_range(cursor(base, req.conditions[<int>RANGE]), file.size, &choice)
    return choice


cdef int precondition(const Request *req, const uint8_t *base, const Representation *file,
                      int64_t now_s) noexcept nogil:
    """RFC 9110 13.2.2, steps 1 to 4."""
    cdef const Span *fields = &req.conditions[0]
    cdef int64_t date
    if fields[<int>IF_MATCH].count:
        if not tag_listed(cursor(base, fields[<int>IF_MATCH]), file, False):
            return PRECONDITION_FAILED
    elif fields[<int>IF_UNMODIFIED_SINCE].count:
        date = date_in(base, fields[<int>IF_UNMODIFIED_SINCE], now_s)
        if date >= 0 and file.modified_s > date:
            return PRECONDITION_FAILED
    if fields[<int>IF_NONE_MATCH].count:
        if tag_listed(cursor(base, fields[<int>IF_NONE_MATCH]), file, True):
            return NOT_MODIFIED
    elif fields[<int>IF_MODIFIED_SINCE].count:
        date = date_in(base, fields[<int>IF_MODIFIED_SINCE], now_s)
        if date >= 0 and file.modified_s <= date:
            return NOT_MODIFIED
    return OK


cdef inline int64_t date_in(const uint8_t *base, Span where, int64_t now_s) noexcept nogil:
    return date_parse(base + where.at, where.count, now_s)


cdef bint tag_listed(Cursor tags, const Representation *file, bint weak) noexcept nogil:
    """Whether `*` or the file's tag is listed; weak comparison ignores W/ (RFC 9110 8.8.3.2, 13.1)."""
    cdef bint is_weak
    if tags.end - tags.at == 1 and tags.at[0] == c"*":
        return True
    while tags.at < tags.end:
        if tags.at[0] == c"," or tags.at[0] == c" " or tags.at[0] == c"\t":
            tags.at += 1
            continue
        is_weak = tags.end - tags.at > 2 and tags.at[0] == c"W" and tags.at[1] == c"/"
        if is_weak:
            tags.at += 2
        if take_tag(&tags, file) and (weak or not is_weak):
            return True
    return False


cdef bint take_tag(Cursor *tags, const Representation *file) noexcept nogil:
    """Step over one opaque tag; whether it is the file's. What is no tag ends the list."""
    cdef const uint8_t *start = tags.at
    if start[0] != c'"':
        tags.at = tags.end
        return False
    tags.at += 1
    while tags.at < tags.end and tags.at[0] != c'"':
        tags.at += 1
    if tags.at == tags.end:
        return False
    tags.at += 1
    return tags.at - start == file.etag_octets and memcmp(start, file.etag, file.etag_octets) == 0


cdef bint range_applies(const Request *req, const uint8_t *base, const Representation *file,
                        int64_t now_s) noexcept nogil:
    """If-Range (RFC 9110 13.1.5): a strong tag, or the exact date if it is old enough (8.8.2.2)."""
    cdef Cursor value = cursor(base, req.conditions[<int>IF_RANGE])
    if value.at == value.end:
        return True
    if value.at[0] == c'"':
        return take_tag(&value, file) and value.at == value.end
    return (date_parse(value.at, <uint32_t>(value.end - value.at), now_s) == file.modified_s
            and file.modified_s + 1 < now_s)


cdef uint64_t take_number(Cursor *it) noexcept nogil:
    """Digits at the cursor, or NO_NUMBER where there are none."""
    cdef uint64_t value = 0
    cdef const uint8_t *start = it.at
    while it.at < it.end and c"0" <= it.at[0] <= c"9":
        value = value * 10 + (it.at[0] - c"0") if value < BIGGEST_NUMBER // 16 else <uint64_t>BIGGEST_NUMBER
        it.at += 1
    return value if it.at > start else <uint64_t>NO_NUMBER


cdef bint is_bytes_unit(Cursor *it) noexcept nogil:
    cdef const char *unit = b"bytes"
    cdef uint32_t i
    if it.end - it.at < 6 or it.at[5] != c"=":
        return False
    for i in range(5):
        if (it.at[i] | 0x20) != <uint8_t>unit[i]:
            return False
    it.at += 6
    return True


cdef void choose_range(Cursor it, uint64_t size, Selection *choice) noexcept nogil:
    """One range (RFC 9110 14.1.2): 206 or 416 into `choice`, or nothing where it is to be ignored."""
    cdef uint64_t first, last
    if not is_bytes_unit(&it):
        return
    first = take_number(&it)
    if it.at == it.end or it.at[0] != c"-":
        return
    it.at += 1
    last = take_number(&it)
    if it.at != it.end or (first == NO_NUMBER and last == NO_NUMBER):
        return
    if first == NO_NUMBER:                              # the last `last` octets
        if last != 0 and size == 0:
            return
        first = size - min(last, size)
        last = NO_NUMBER
    elif last < first:
        return
    if first >= size:
        choice.status = RANGE_NOT_SATISFIABLE
        return
    choice.status = PARTIAL_CONTENT
    choice.first = first
    choice.end = size if last >= size else last + 1
