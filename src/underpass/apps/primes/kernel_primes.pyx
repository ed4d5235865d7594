"""Primes over Linux's sockets, to measure against."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.apps.kernel_http cimport Client, KernelHttp
from underpass.apps.primes.primes cimport ANSWER, answer_text, number_asked, primes_below

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
    ssize_t send(int fd, const void *octets, size_t count, int flags)


cdef class KernelPrimes(KernelHttp):
    """See kernel_primes.pyi."""

    def __init__(self, str address not None, int port):
        KernelHttp.__init__(self, "/", address, port)

    cdef void _take(self, Client *it, int fd) noexcept nogil:
        """One request at a time, as `primes_readable` takes them."""
        cdef char[ANSWER] text
        cdef int number = number_asked(it.octets, it.count)
        cdef int octets
        if number == -2:
            return
        it.count = 0
        octets = answer_text(text, primes_below(<uint32_t>number)) if number >= 0 else -1
        if number < 0 or send(fd, <const uint8_t *>text, <size_t>octets, MSG_NOSIGNAL) != octets:
            self._close(fd)
