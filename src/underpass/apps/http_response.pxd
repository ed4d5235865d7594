"""Heads of responses that are not just a file's own, written into a `Text`."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.apps.file_cache cimport Entry
from underpass.apps.http_conditions cimport Selection
from underpass.apps.http_text cimport Text

cdef enum Persistence:
    PERSISTS = 0                # HTTP/1.1: nothing needs saying
    PERSISTS_1_0 = 1            # Connection: keep-alive
    CLOSES = 2                  # Connection: close

cdef enum:
    RESPONSE_ROOM = 4608        # for the longest head: a redirection to the longest path

# A response without a file: an error, with a short text as its body unless it answers HEAD.
cdef void put_error(Text *text, int status, const uint8_t *date, int persistence,
                    bint with_body) noexcept nogil
# 301 to the same path with a slash behind it, and the query.
cdef void put_redirect(Text *text, const uint8_t *key, uint32_t count, const uint8_t *query,
                       uint32_t query_count,
                       const uint8_t *date, int persistence, bint with_body) noexcept nogil
# The head of a response with a file, or about one: 200, 206, 304, 412, 416.
cdef void put_file(Text *text, const Entry *entry, const Selection *choice, const uint8_t *date,
                   int persistence,
                   bint with_body) noexcept nogil
