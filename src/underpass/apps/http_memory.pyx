"""Laying the HTTP server's memory out. Pages that nobody touches cost nothing."""
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport strerror
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport close, dup, ftruncate

import os

cdef extern from "<sys/mman.h>" nogil:
    int memfd_create(const char *name, unsigned int flags)
    enum: MFD_CLOEXEC

cdef enum:
    PAGE = 4096

LAYOUT = (sizeof(HttpConn) << 48) + (sizeof(HttpHeader) << 32) + (sizeof(Block) << 12) + sizeof(NamedFile)


cdef uint64_t place(uint64_t *end, uint64_t octets) noexcept:
    """Room for `octets` at a page boundary."""
    cdef uint64_t at = end[0]
    end[0] = (at + octets + PAGE - 1) // PAGE * PAGE
    return at


cdef class HttpMemory:
    def __cinit__(self, uint32_t capacity, uint32_t blocks, uint32_t files, int memfd=-1, uint64_t at=0):
        cdef uint64_t end = PAGE
        cdef uint64_t conns_at = place(&end, capacity * sizeof(HttpConn))
        cdef uint64_t blocks_at = place(&end, blocks * sizeof(Block))
        cdef uint64_t owners_at = place(&end, blocks * sizeof(BlockOwner))
        cdef uint64_t files_at = place(&end, files * sizeof(NamedFile))
        self.base = NULL
        self.memfd = -1
        self.bytes = end
        self.end = at + end
        cdef uint64_t there = os.fstat(memfd).st_size if memfd >= 0 else 0
        cdef bint fresh = there == at
        if not fresh and there < self.end:
            raise ValueError(f"{there} bytes are not the memory of {capacity} HTTP connections, {self.end} are")
        self.memfd = dup(memfd) if memfd >= 0 else memfd_create(b"underpass-http", MFD_CLOEXEC)
        if self.memfd < 0 or (fresh and ftruncate(self.memfd, self.end) < 0):
            raise OSError(errno, f"memory of {capacity} HTTP connections: {strerror(errno).decode()}")
        self.base = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, self.memfd, at)
        if self.base == MAP_FAILED:
            self.base = NULL
            raise OSError(errno, f"memory of {capacity} HTTP connections: {strerror(errno).decode()}")
        self.header = <HttpHeader *>self.base
        self.conns = <HttpConn *>(<char *>self.base + conns_at)
        self.blocks = <Block *>(<char *>self.base + blocks_at)
        self.owners = <BlockOwner *>(<char *>self.base + owners_at)
        self.files = <NamedFile *>(<char *>self.base + files_at)
        if fresh:
            self.header.layout = LAYOUT
            self.header.capacity, self.header.blocks, self.header.files = capacity, blocks, files
        elif (self.header.layout, self.header.capacity, self.header.blocks, self.header.files) != (
                LAYOUT, capacity, blocks, files):
            raise ValueError("the memory of HTTP connections is another version's")

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.bytes)
        if self.memfd >= 0:
            close(self.memfd)
