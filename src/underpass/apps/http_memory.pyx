"""Laying the HTTP server's memory out. Pages that nobody touches cost nothing."""
from libc.stdint cimport uint32_t, uint64_t

import os

from underpass.link.memfd cimport MEMFD_PAGE, memfd_map, memfd_place, memfd_unmap

LAYOUT = (sizeof(HttpConn) << 48) + (sizeof(HttpHeader) << 32) + (sizeof(Block) << 12) + sizeof(NamedFile)


cdef class HttpMemory:
    def __cinit__(self, uint32_t capacity, uint32_t blocks, uint32_t files, int memfd=-1, uint64_t at=0):
        cdef uint64_t end = MEMFD_PAGE
        cdef uint64_t conns_at = memfd_place(&end, capacity * sizeof(HttpConn))
        cdef uint64_t blocks_at = memfd_place(&end, blocks * sizeof(Block))
        cdef uint64_t owners_at = memfd_place(&end, blocks * sizeof(BlockOwner))
        cdef uint64_t files_at = memfd_place(&end, files * sizeof(NamedFile))
        self.base = NULL
        self.memfd = -1
        self.bytes = end
        self.end = at + end
        cdef uint64_t there = os.fstat(memfd).st_size if memfd >= 0 else 0
        cdef bint fresh = there == at
        if not fresh and there < self.end:
            raise ValueError(f"{there} bytes are not the memory of {capacity} HTTP connections, {self.end} are")
        self.base = memfd_map(&self.memfd, memfd, b"underpass-http", at, end, f"memory of {capacity} HTTP connections")
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
        memfd_unmap(self.memfd, self.base, self.bytes)
