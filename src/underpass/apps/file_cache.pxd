"""The files below one directory, ready to send: heads made once, small bodies in memory, large files open.

An entry is good for RECHECK_NS without asking the kernel; after that one look at the path decides whether the
file is still the same. Every limit is fixed at start: entries, octets in memory, open files. Who sends from
an entry pins it; a pinned entry keeps its octets and its file until the last pin goes, whatever happens to
the path meanwhile.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    NO_ENTRY = 0xFFFFFFFF
    RECHECK_NS = 1000000
    SETTLED_NS = 20000000       # changed less than this ago: the next change may leave the same time stamps
    DATE_AT = 23                # where the date stands in a head that starts with HTTP/1.1 200 OK, Date:

cdef enum EntryFlags:
    ENTRY_USED = 1
    ENTRY_REFERENCED = 2        # since the clock's hand came by
    ENTRY_STALE = 4             # no longer found; freed with its last pin
    ENTRY_YOUNG = 8             # changed just before it was read: read again at the next look

cdef struct Identity:           # two looks that agree in all of these saw the same content
    uint64_t device
    uint64_t inode
    uint64_t size
    int64_t modified_ns
    int64_t changed_ns

cdef struct NamedFile:          # which file an entry is of, for a process that opens it anew
    Identity identity
    uint32_t path_octets
    uint8_t[1024] path          # PATH_OCTETS and one

cdef struct Entry:
    uint64_t hash
    uint64_t checked_ns         # 0: not since it was changed
    Identity identity
    int64_t dated_s             # the second that the head's Date says
    uint8_t *path               # start of its memory: path, head, and the body where it is small
    uint8_t *head
    uint8_t *body               # NULL: read it from fd
    int fd                      # -1: none
    uint32_t octets             # of its memory
    uint32_t pins
    uint32_t next               # in its bucket, or in the free list
    uint16_t path_octets
    uint16_t head_octets        # the whole head of a 200 response, with its empty line
    uint16_t fields_at          # from here to before the empty line: fields that a 206 has too
    uint16_t etag_at
    uint16_t etag_octets
    uint16_t flags

cdef struct CacheCounters:
    uint64_t hits
    uint64_t rechecks
    uint64_t loads
    uint64_t changed            # files found to be others than before
    uint64_t evicted
    uint64_t not_found
    uint64_t forbidden
    uint64_t outside            # paths that lead out of the directory
    uint64_t full               # refused: every entry is being sent, or memory or descriptors are used up
    uint64_t unstable           # refused: the file changed while it was read

cdef struct Cache:
    int directory               # descriptor
    uint32_t capacity
    uint32_t bucket_mask
    uint32_t free               # head of the free list
    uint32_t used
    uint32_t hand               # of the clock
    uint32_t descriptors
    uint32_t descriptor_limit
    uint64_t memory
    uint64_t memory_limit
    uint32_t small_octets       # the largest body that is kept in memory
    Entry *entries
    uint32_t *buckets
    CacheCounters counters

# Look a decoded path up. 200 with *entry set; or 301 (a directory, asked for without its slash), 403, 404 or
# 503. `now_ns` is the stack's clock, `wall_ns` the time since 1970.
cdef int cache_find(Cache *cache, const uint8_t *path, uint32_t count, uint64_t now_ns, int64_t wall_ns,
                    uint32_t *entry) noexcept nogil
cdef void cache_unpin(Cache *cache, uint32_t entry) noexcept nogil
# Octets of the file at `offset` into `into`: as many as asked, or fewer: the file has become shorter or
# cannot be read.
cdef uint32_t cache_read(const Entry *entry, uint64_t offset, uint8_t *into, uint32_t count) noexcept nogil


cdef inline void cache_pin(Cache *cache, uint32_t entry) noexcept nogil:
    cache.entries[entry].pins += 1


cdef inline void file_note(NamedFile *into, const Entry *entry) noexcept nogil:
    """This entry is of that file."""
    into.identity = entry.identity
    into.path_octets = entry.path_octets
    memcpy(into.path, entry.path, entry.path_octets)


cdef class FileCache:
    """Owns a `Cache`."""
    cdef Cache cache
    cdef readonly str directory
