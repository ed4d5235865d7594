"""The reader's end of a spool (see link/spool.pxd), which trusts the worker no more than the worker trusts it.

What is read is copied first and looked at then, and a memfd that could shrink beneath the mapping is refused.
"""
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, strerror
from posix.fcntl cimport fcntl
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE, mmap, munmap,
)

import os

from underpass.link.spool cimport (
    ACQUIRE_COUNT, RELEASE_COUNT, SPOOL_LEAST, SPOOL_MOST, SPOOL_PACKETS, SPOOL_PAGE, SPOOL_TRACE, SPOOL_VERSION,
    SpoolShared, load_count, store_count,
)

KINDS = {"capture": SPOOL_PACKETS, "trace": SPOOL_TRACE}

cdef extern from "<fcntl.h>" nogil:
    enum: F_GET_SEALS
    enum: F_SEAL_SHRINK

cdef extern from "<sys/mman.h>" nogil:
    enum: MAP_POPULATE

cdef enum:
    LEAST_BLOCK = 32                # the least that a block of pcapng for a packet has


cdef uint32_t block_bytes(const char *block) noexcept nogil:
    cdef uint32_t octets
    memcpy(&octets, block + 4, 4)
    return octets


cdef class SpoolReader:
    """The ring behind a spool's memfd, which stays the caller's; `what`: "capture" or "trace".

    Raises ValueError where it is none of this version.
    """
    cdef SpoolShared *shared
    cdef const char *ring
    cdef uint64_t bytes
    cdef uint64_t consumed
    cdef str what

    def __cinit__(self, int fd, str what="capture"):
        cdef int seals = fcntl(fd, F_GET_SEALS)
        cdef uint64_t octets = os.fstat(fd).st_size
        self.what = what
        self.bytes = octets - SPOOL_PAGE
        if (seals < 0 or not seals & F_SEAL_SHRINK or octets <= SPOOL_PAGE or self.bytes & (self.bytes - 1)
                or not SPOOL_LEAST <= self.bytes <= SPOOL_MOST):
            raise ValueError(f"this is no {what} of Underpass")
        self._map(fd)
        if self.shared.magic != <uint32_t>KINDS[what] or self.shared.version != SPOOL_VERSION or self.shared.bytes != self.bytes:
            raise ValueError(f"this {what} belongs to another version of Underpass")

    cdef int _map(self, int fd) except -1:
        """Twice in a row, as the worker does. Filled in now, so that its pages are not the worker's to make."""
        cdef uint64_t octets = SPOOL_PAGE + self.bytes
        cdef char *base = <char *>mmap(NULL, octets + self.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if base == <char *>MAP_FAILED:
            raise OSError(errno, f"a {self.what}'s ring: {strerror(errno).decode()}")
        self.shared = <SpoolShared *>base
        self.ring = base + SPOOL_PAGE
        if (mmap(base, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED
                or mmap(base + octets, self.bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, SPOOL_PAGE) == MAP_FAILED):
            raise OSError(errno, f"a {self.what}'s ring: {strerror(errno).decode()}")
        self.consumed = self.shared.consumed
        return 0

    def read(self, uint64_t most_bytes=1 << 20, uint64_t most_blocks=1 << 32):
        """Whole blocks that came since the last call, and how many they are.

        Raises ValueError where the ring's content is damaged.
        """
        cdef uint64_t there = load_count(&self.shared.produced, ACQUIRE_COUNT) - self.consumed
        cdef uint64_t taken = 0
        cdef uint64_t blocks = 0
        cdef bytes copy
        cdef const char *octets
        if there > self.bytes:
            raise ValueError(f"the {self.what} is damaged: its worker counts more than the ring holds")
        copy = self.ring[self.consumed & (self.bytes - 1):(self.consumed & (self.bytes - 1)) + min(there, most_bytes)]
        octets = copy
        while blocks < most_blocks and taken + LEAST_BLOCK <= <uint64_t>len(copy):
            if block_bytes(octets + taken) < LEAST_BLOCK or block_bytes(octets + taken) % 4:
                raise ValueError(f"the {self.what} is damaged: a block has an impossible length")
            if block_bytes(octets + taken) > <uint64_t>len(copy) - taken:
                break
            taken += block_bytes(octets + taken)
            blocks += 1
        if blocks == 0 and there and most_blocks:
            raise ValueError(f"the {self.what} is damaged: a block ends beyond what was written")
        self.consumed += taken
        store_count(&self.shared.consumed, self.consumed, RELEASE_COUNT)
        return copy[:taken], blocks

    def counts(self):
        """Since the start: "passed", of them "matched", and of these "dropped" for want of room."""
        return {"passed": self.shared.passed, "matched": self.shared.matched, "dropped": self.shared.dropped}

    def __dealloc__(self):
        if self.shared != NULL:
            munmap(self.shared, SPOOL_PAGE + 2 * self.bytes)
