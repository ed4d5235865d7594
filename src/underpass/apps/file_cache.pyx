"""The file cache: lookup beneath one directory, revalidation, loading, eviction by the clock algorithm.

Every path goes through openat2 with RESOLVE_BENEATH, so that neither `..` nor a symbolic link nor a race
between them leads out of the directory. Files are read, never mapped: one that shrinks gives a short read,
not a SIGBUS.
"""
import os

from libc.errno cimport EACCES, EAGAIN, EINTR, EMFILE, ENFILE, EPERM, EXDEV, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.fcntl cimport O_NONBLOCK, O_RDONLY
from posix.stat cimport S_ISDIR, S_ISREG, fstat, struct_stat
from posix.unistd cimport close, pread

from underpass.apps.http_date cimport DATE_OCTETS, date_format
from underpass.apps.http_path cimport PATH_OCTETS
from underpass.apps.http_text cimport Text, text_begin, text_hex, text_number, text_put
from underpass.apps.mime cimport mime_type

cdef extern from "<fcntl.h>" nogil:
    enum: O_CLOEXEC
    enum: O_NOCTTY
    enum: O_PATH

cdef extern from "<linux/openat2.h>" nogil:
    struct open_how:
        uint64_t flags
        uint64_t mode
        uint64_t resolve
    enum: RESOLVE_BENEATH
    enum: RESOLVE_NO_MAGICLINKS

cdef extern from "<sys/syscall.h>" nogil:
    enum: SYS_openat2

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

cdef extern from "<sys/stat.h>" nogil:
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    struct with_times "stat":
        timespec st_mtim
        timespec st_ctim

cdef enum:
    OK = 200
    MOVED = 301
    FORBIDDEN = 403
    NOT_FOUND = 404
    UNAVAILABLE = 503
    HEAD_ROOM = 512             # a head is 300 octets or so
    NAME_ROOM = PATH_OCTETS + 11    # and index.html and NUL
    OPEN_TRIES = 4              # RESOLVE_BENEATH gives EAGAIN where a rename crossed its way
    READ_TRIES = 3
    SECOND_NS = 1000000000


# Lookup

cdef inline uint64_t hash_of(const uint8_t *path, uint32_t count) noexcept nogil:
    """Only files that exist are kept, so the peer cannot choose what collides: no key is needed."""
    cdef uint64_t word = 0
    cdef uint64_t hash = count * <uint64_t>0x9E3779B97F4A7C15
    while count >= 8:
        memcpy(&word, path, 8)
        hash = (hash ^ word) * <uint64_t>0xD6E8FEB86659FD93
        hash ^= hash >> 32
        path += 8
        count -= 8
    word = 0                                        # what is left over, without reading behind it
    memcpy(&word, path, count)
    hash = (hash ^ word) * <uint64_t>0xD6E8FEB86659FD93
    return hash ^ (hash >> 32)


cdef int cache_find(Cache *cache, const uint8_t *path, uint32_t count, uint64_t now_ns, int64_t wall_ns,
                    uint32_t *entry) noexcept nogil:
    """See file_cache.pxd."""
    cdef uint64_t hash = hash_of(path, count)
    cdef uint32_t at = cache.buckets[hash & cache.bucket_mask]
    cdef Entry *it = NULL
    while at != NO_ENTRY:
        it = &cache.entries[at]
        if it.hash == hash and it.path_octets == count and memcmp(it.path, path, count) == 0:
            break
        at = it.next
    if at != NO_ENTRY:
        if now_ns - it.checked_ns < RECHECK_NS or is_unchanged(cache, it, now_ns):
            it.flags |= ENTRY_REFERENCED
            cache.counters.hits += 1
            entry[0] = at
            return OK
        cache.counters.changed += 1
        drop(cache, at)
    return load(cache, path, count, hash, now_ns, wall_ns, entry)


cdef bint is_unchanged(Cache *cache, Entry *it, uint64_t now_ns) noexcept nogil:
    """Look at the path again: whether it still leads to what was read."""
    cdef Identity now
    cdef struct_stat facts
    cdef char[NAME_ROOM] name
    if it.flags & ENTRY_YOUNG:
        return False
    cache.counters.rechecks += 1
    name_of(it.path, it.path_octets, name)
    cdef int fd = open_beneath(cache.directory, name, O_PATH)
    if fd < 0:
        return False
    cdef bint seen = fstat(fd, &facts) == 0
    close(fd)
    if not seen:
        return False
    now = identity_of(&facts)
    if memcmp(&now, &it.identity, sizeof(Identity)) != 0:
        return False
    it.checked_ns = now_ns
    return True


cdef void name_of(const uint8_t *path, uint32_t count, char *name) noexcept nogil:
    """The file that a path stands for: a directory's is its index.html."""
    memcpy(name, path, count)
    name[count] = 0
    if count == 0 or path[count - 1] == c"/":
        memcpy(name + count, b"index.html", 11)


cdef int open_beneath(int directory, const char *name, int flags) noexcept nogil:
    """A descriptor, or -1 with errno. Never waits for a FIFO's other end and never takes a terminal."""
    cdef open_how how
    cdef int fd = -1
    memset(&how, 0, sizeof(how))
    how.flags = flags | O_CLOEXEC
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    for _ in range(OPEN_TRIES):
        fd = <int>syscall(SYS_openat2, directory, name, &how, sizeof(how))
        if fd >= 0 or (errno != EAGAIN and errno != EINTR):
            break
    return fd


cdef Identity identity_of(struct_stat *facts) noexcept nogil:
    cdef Identity it
    cdef with_times *times = <with_times *>facts
    it.device = facts.st_dev
    it.inode = facts.st_ino
    it.size = facts.st_size
    it.modified_ns = times.st_mtim.tv_sec * SECOND_NS + times.st_mtim.tv_nsec
    it.changed_ns = times.st_ctim.tv_sec * SECOND_NS + times.st_ctim.tv_nsec
    return it


# Loading

cdef int load(Cache *cache, const uint8_t *path, uint32_t count, uint64_t hash, uint64_t now_ns,
              int64_t wall_ns,
              uint32_t *entry) noexcept nogil:
    """Open the file and make an entry of it. A status code."""
    cdef char[NAME_ROOM] name
    cdef struct_stat facts
    cdef int status
    cdef int fd
    name_of(path, count, name)
    fd = open_beneath(cache.directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    if fd < 0:
        return refusal(cache, errno)
    facts.st_mode = 0
    if fstat(fd, &facts) != 0 or not S_ISREG(facts.st_mode):
        close(fd)
        if S_ISDIR(facts.st_mode) and count and path[count - 1] != c"/":
            return MOVED
        cache.counters.not_found += 1
        return NOT_FOUND
    status = admit(cache, path, count, fd, &facts, entry)
    if status != OK:
        close(fd)
        return status
    cdef Entry *it = &cache.entries[entry[0]]
    it.hash = hash
    it.checked_ns = now_ns
    if it.identity.changed_ns > wall_ns - SETTLED_NS:
        it.flags |= ENTRY_YOUNG
    it.next = cache.buckets[hash & cache.bucket_mask]
    cache.buckets[hash & cache.bucket_mask] = entry[0]
    cache.counters.loads += 1
    return OK


cdef int refusal(Cache *cache, int error) noexcept nogil:
    """The status code for a path that does not open. One that leads out looks like a missing one."""
    if error == EMFILE or error == ENFILE:
        cache.counters.full += 1
        return UNAVAILABLE
    if error == EACCES or error == EPERM:
        cache.counters.forbidden += 1
        return FORBIDDEN
    if error == EXDEV:
        cache.counters.outside += 1
    cache.counters.not_found += 1
    return NOT_FOUND


cdef int admit(Cache *cache, const uint8_t *path, uint32_t count, int fd, struct_stat *facts,
               uint32_t *entry) noexcept nogil:
    """Take an entry and its memory, and fill them. It takes over the descriptor, but not on failure."""
    cdef Entry made
    for _ in range(READ_TRIES):
        if not reserve(cache, path, count, facts, &made):
            cache.counters.full += 1
            return UNAVAILABLE
        if made.body == NULL or read_whole(fd, &made, facts):
            break
        free(made.path)
        if fstat(fd, facts) != 0:
            return UNAVAILABLE
    else:
        cache.counters.unstable += 1
        return UNAVAILABLE
    made.fd = -1 if made.body != NULL else fd
    if made.body != NULL:
        close(fd)
    else:
        cache.descriptors += 1
    entry[0] = cache.free
    cache.free = cache.entries[entry[0]].next
    cache.entries[entry[0]] = made
    cache.used += 1
    cache.memory += made.octets
    return OK


cdef bint reserve(Cache *cache, const uint8_t *path, uint32_t count, struct_stat *facts,
                  Entry *made) noexcept nogil:
    """Room for one more entry: evict what is in the way, take the memory, write path and head into it."""
    cdef uint8_t[HEAD_ROOM] head
    cdef uint32_t body = 0
    memset(made, 0, sizeof(Entry))
    made.identity = identity_of(facts)
    if made.identity.size <= cache.small_octets:
        body = <uint32_t>made.identity.size
    write_head(made, head, path, count)
    made.octets = count + made.head_octets + body
    if not make_room(cache, made.octets, made.identity.size > cache.small_octets):
        return False
    made.path = <uint8_t *>malloc(made.octets)
    if made.path == NULL:
        return False
    made.path_octets = <uint16_t>count
    made.head = made.path + count
    memcpy(made.path, path, count)
    memcpy(made.head, head, made.head_octets)
    made.body = made.head + made.head_octets if made.identity.size <= cache.small_octets else NULL
    made.flags = ENTRY_USED | ENTRY_REFERENCED
    made.dated_s = -1
    return True


cdef bint read_whole(int fd, Entry *made, struct_stat *facts) noexcept nogil:
    """The body into memory; false where the file was another when it had been read."""
    cdef Identity before = made.identity, after
    made.fd = fd
    if cache_read(made, 0, made.body, <uint32_t>before.size) != before.size or fstat(fd, facts) != 0:
        return False
    after = identity_of(facts)
    return memcmp(&before, &after, sizeof(Identity)) == 0


cdef uint32_t cache_read(const Entry *entry, uint64_t offset, uint8_t *into, uint32_t count) noexcept nogil:
    """See file_cache.pxd."""
    cdef uint32_t done = 0
    cdef ssize_t got
    while done < count:
        got = pread(entry.fd, into + done, count - done, <int64_t>(offset + done))
        if got > 0:
            done += <uint32_t>got
        elif got == 0 or errno != EINTR:
            break
    return done


cdef void put(Text *text, const char *octets, uint32_t count) noexcept nogil:
    text_put(text, octets, count)


cdef void write_head(Entry *it, uint8_t *head, const uint8_t *path, uint32_t count) noexcept nogil:
    """The head of a 200 response. The date is filled in when it is sent."""
    cdef char[NAME_ROOM] name
    cdef uint8_t[DATE_OCTETS] modified
    cdef const char *media
    cdef Text text
    name_of(path, count, name)
    media = mime_type(<const uint8_t *>name, <uint32_t>length(name))
    date_format(it.identity.modified_ns // SECOND_NS, modified)
    text_begin(&text, head, HEAD_ROOM)
    put(&text, b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: ", 70)
    text_number(&text, it.identity.size)
    put(&text, b"\r\n", 2)
    it.fields_at = <uint16_t>text.count
    put(&text, b"Server: underpass\r\nContent-Type: ", 33)
    put(&text, media, <uint32_t>length(media))
    put(&text, b"\r\nLast-Modified: ", 17)
    text_put(&text, modified, DATE_OCTETS)
    put(&text, b"\r\nAccept-Ranges: bytes\r\nETag: ", 30)
    it.etag_at = <uint16_t>text.count
    write_etag(it, &text)
    it.etag_octets = <uint16_t>(text.count - it.etag_at)
    put(&text, b"\r\n\r\n", 4)
    it.head_octets = <uint16_t>text.count


cdef void write_etag(const Entry *it, Text *text) noexcept nogil:
    """Strong: it changes with every change that the time stamps or the size can show (RFC 9110 8.8.3)."""
    put(text, b'"', 1)
    text_hex(text, <uint64_t>it.identity.modified_ns)
    put(text, b"-", 1)
    text_hex(text, it.identity.inode)
    put(text, b"-", 1)
    text_hex(text, it.identity.size)
    put(text, b'"', 1)


cdef inline size_t length(const char *text) noexcept nogil:
    cdef size_t count = 0
    while text[count] != 0:
        count += 1
    return count


# Eviction

cdef bint make_room(Cache *cache, uint64_t octets, bint descriptor) noexcept nogil:
    """Evict until there is an entry, memory and a descriptor free. False: what is left is being sent."""
    cdef uint32_t steps = 0
    while (cache.free == NO_ENTRY or cache.memory + octets > cache.memory_limit
           or (descriptor and cache.descriptors >= cache.descriptor_limit)):
        if steps > 2 * cache.capacity:
            return False
        steps += evict_step(cache)
    return True


cdef uint32_t evict_step(Cache *cache) noexcept nogil:
    """The clock's hand goes one entry further: used since it last came by: once more spared. Returns 1."""
    cdef uint32_t at = cache.hand
    cdef Entry *it = &cache.entries[at]
    cache.hand = at + 1 if at + 1 < cache.capacity else 0
    if not it.flags & ENTRY_USED or it.pins or it.flags & ENTRY_STALE:
        return 1
    if it.flags & ENTRY_REFERENCED:
        it.flags &= ~<uint16_t>ENTRY_REFERENCED
        return 1
    cache.counters.evicted += 1
    drop(cache, at)
    return 1


cdef void drop(Cache *cache, uint32_t at) noexcept nogil:
    """Take an entry out of the table; its memory goes now, or with its last pin."""
    cdef Entry *it = &cache.entries[at]
    cdef uint32_t *link = &cache.buckets[it.hash & cache.bucket_mask]
    while link[0] != at:
        link = &cache.entries[link[0]].next
    link[0] = it.next
    it.flags |= ENTRY_STALE
    if it.pins == 0:
        release(cache, at)


cdef void release(Cache *cache, uint32_t at) noexcept nogil:
    cdef Entry *it = &cache.entries[at]
    if it.fd >= 0:
        close(it.fd)
        cache.descriptors -= 1
    free(it.path)
    cache.memory -= it.octets
    cache.used -= 1
    memset(it, 0, sizeof(Entry))
    it.fd = -1
    it.next = cache.free
    cache.free = at


cdef void cache_unpin(Cache *cache, uint32_t entry) noexcept nogil:
    """Give a pin back."""
    cdef Entry *it = &cache.entries[entry]
    it.pins -= 1
    if it.pins == 0 and it.flags & ENTRY_STALE:
        release(cache, entry)


cdef class FileCache:
    """See file_cache.pyi."""

    def __cinit__(self, str directory, *, uint32_t entries=4096, uint64_t memory=64 << 20,
                  uint32_t descriptors=512,
                  uint32_t small_octets=65536):
        cdef uint32_t at, buckets = 16
        memset(&self.cache, 0, sizeof(Cache))
        self.cache.directory = -1
        if entries < 1 or descriptors < 1 or memory < small_octets + 4096:
            raise ValueError("a file cache needs at least an entry, a descriptor and "
                             f"{small_octets + 4096} bytes of memory")
        while buckets < 2 * entries:
            buckets *= 2
        self.directory = directory
        self.cache.directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.cache.entries = <Entry *>calloc(entries, sizeof(Entry))
        self.cache.buckets = <uint32_t *>malloc(buckets * sizeof(uint32_t))
        if self.cache.entries == NULL or self.cache.buckets == NULL:
            raise MemoryError(f"{entries} entries of a file cache")
        self.cache.capacity = entries
        self.cache.bucket_mask = buckets - 1
        self.cache.memory_limit = memory
        self.cache.descriptor_limit = descriptors
        self.cache.small_octets = small_octets
        memset(self.cache.buckets, 0xFF, buckets * sizeof(uint32_t))
        for at in range(entries):
            self.cache.entries[at].fd = -1
            self.cache.entries[at].next = at + 1 if at + 1 < entries else <uint32_t>NO_ENTRY

    def __dealloc__(self):
        cdef uint32_t at
        self.close()
        for at in range(self.cache.capacity):
            if self.cache.entries[at].fd >= 0:
                close(self.cache.entries[at].fd)
            free(self.cache.entries[at].path)
        free(self.cache.entries)
        free(self.cache.buckets)

    def stats(self):
        """Counters, and what is in use now."""
        return {**self.cache.counters, "entries": self.cache.used, "memory_bytes": self.cache.memory,
                "descriptors": self.cache.descriptors}

    def close(self):
        """Serve no new file. What is being sent goes on."""
        if self.cache.directory >= 0:
            close(self.cache.directory)
            self.cache.directory = -1
