"""Requests and answers of the primes' servers, over whichever TCP."""
from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ANSWER = 128                    # octets of an answer, at most

cdef uint32_t primes_below(uint32_t limit) noexcept nogil
# X of a whole request "GET /X ...\r\n\r\n", -1 where it is none, -2 where its end has not come.
cdef int number_asked(const uint8_t *octets, uint32_t count) noexcept nogil
# The answer to a request; returns its octets.
cdef int answer_text(char *into, uint32_t found) noexcept nogil
