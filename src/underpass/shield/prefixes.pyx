"""The prefixes of a list: read from text, a million lines in a fraction of a second."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from ipaddress import ip_network

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *into)
    uint32_t ntohl(uint32_t value)
    enum:
        AF_INET
        AF_INET6

cdef extern from "<endian.h>" nogil:
    uint64_t be64toh(uint64_t value)

cdef enum:
    TEXT_MAX = 50               # of an IPv6 prefix, with room
    WRONG_MAX = 20              # lines that are told


cdef uint64_t mask_of(int bits) noexcept nogil:
    """The lower ones of 64 bits that are not among the first `bits`."""
    return 0 if bits >= 64 else <uint64_t>-1 if bits <= 0 else (<uint64_t>1 << (64 - bits)) - 1


cdef int parse_prefix(const char *text, size_t length, Prefix *into) noexcept nogil:
    """0, or -1 for what is no address or prefix, or -2 for one with bits beyond its length."""
    cdef char address[TEXT_MAX]
    cdef uint64_t[2] octets
    cdef uint32_t four
    cdef size_t i, slash = length
    cdef int bits = -1
    for i in range(length):
        if text[i] == 0:
            return -1
        if text[i] == b"/":
            slash = i
            break
    if slash >= TEXT_MAX or slash == 0:
        return -1
    if slash < length:
        if not 1 <= length - slash - 1 <= 3:
            return -1
        bits = 0
        for i in range(slash + 1, length):
            if not b"0" <= text[i] <= b"9":
                return -1
            bits = bits * 10 + text[i] - 48
    memcpy(address, text, slash)
    address[slash] = 0
    if inet_pton(AF_INET, address, &four) == 1:
        into.version, into.high, into.low = 4, 0, ntohl(four)
        into.length = 32 if bits < 0 else bits
        return -1 if bits > 32 else -2 if into.low & mask_of(into.length + 32) else 0
    if inet_pton(AF_INET6, address, octets) == 1:
        into.version, into.high, into.low = 6, be64toh(octets[0]), be64toh(octets[1])
        into.length = 128 if bits < 0 else bits
        if bits > 128:
            return -1
        return -2 if into.high & mask_of(into.length) or into.low & mask_of(into.length - 64) else 0
    return -1


cdef class Prefixes:
    """Prefixes of both families, `count` of them, in the order in which they came."""

    def __init__(self, texts=()):
        for text in texts:
            self.add(text)

    def __dealloc__(self):
        free(self.at)

    cdef int _append(self, Prefix one) except -1:
        cdef void *more
        if self.count == self.room:
            self.room = max(64, 2 * self.room)
            more = realloc(self.at, self.room * sizeof(Prefix))
            if more == NULL:
                raise MemoryError(f"{self.room} prefixes")
            self.at = <Prefix *>more
        self.at[self.count] = one
        self.count += 1
        return 0

    def add(self, text):
        """An address or a prefix. Raises ValueError, which says what is wrong with it."""
        cdef Prefix one
        octets = str(text).encode()
        cdef int wrong = parse_prefix(octets, len(octets), &one)
        if wrong:
            raise ValueError(why_wrong(str(text), wrong))
        self._append(one)

    def read(self, bytes text not None):
        """Those of a file: one a line, what follows a blank, "," ";" or "#" is a comment.

        Returns the lines that are wrong, each with what is; it gives up after WRONG_MAX of them.
        """
        cdef const char *at = text
        cdef size_t size = len(text), begin, end, line = 0, stop = 0
        cdef Prefix one
        cdef int why
        wrong = []
        while stop < size and len(wrong) < WRONG_MAX:
            line += 1
            begin = stop
            while stop < size and at[stop] != b"\n":
                stop += 1
            end = begin
            while begin < stop and (at[begin] == b" " or at[begin] == b"\t" or at[begin] == b"\r"):
                begin += 1
            end = begin
            while end < stop and not is_end(at[end]):
                end += 1
            stop += 1
            if end == begin:
                continue
            why = parse_prefix(at + begin, end - begin, &one)
            if why:
                wrong.append((line, why_wrong(text[begin:end].decode(errors="replace"), why)))
            else:
                self._append(one)
        return wrong

    def __len__(self):
        return self.count


cdef bint is_end(char letter) noexcept nogil:
    return letter in (b" ", b"\t", b"\r", b",", b";", b"#")


cdef why_wrong(str text, int wrong):
    if wrong == -2:
        return f"{text} has bits beyond its length; {ip_network(text, strict=False)} is meant?"
    return f"{text[:60]!r} is no address or prefix, such as 192.0.2.0/24 or 2001:db8::/32"
