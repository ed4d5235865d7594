"""Where a spool's memory comes from."""
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset, strerror
from posix.fcntl cimport fcntl
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE, mmap, munmap,
)
from posix.types cimport off_t
from posix.unistd cimport close, ftruncate

cdef extern from "<sys/mman.h>" nogil:
    int memfd_create(const char *name, unsigned int flags)
    enum: MFD_CLOEXEC
    enum: MFD_ALLOW_SEALING

cdef extern from "<fcntl.h>" nogil:
    enum: F_ADD_SEALS
    enum: F_SEAL_SEAL
    enum: F_SEAL_SHRINK
    enum: F_SEAL_GROW


cdef class SpoolMemory:
    """A ring of `ring_bytes` (a power of two) for blocks of the kind `magic`.

    `name` is the memfd's, `what` what errors call it. Raises ValueError for a size out of range, OSError where there
    is no memory.
    """

    def __cinit__(self, bytes name not None, str what not None, uint32_t magic, uint64_t ring_bytes):
        cdef char *base
        cdef uint64_t octets = SPOOL_PAGE + ring_bytes
        memset(&self.spool, 0, sizeof(Spool))
        self.memfd = -1
        if not SPOOL_LEAST <= ring_bytes <= SPOOL_MOST or ring_bytes & (ring_bytes - 1):
            raise ValueError(f"{what}'s ring has a power of two of octets, {SPOOL_LEAST} to {SPOOL_MOST}, "
                             f"not {ring_bytes}")
        # No one may change the memfd's size.
        self.memfd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)
        if (self.memfd < 0 or ftruncate(self.memfd, <off_t>octets) < 0
                or fcntl(self.memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0):
            raise OSError(errno, f"{what}'s ring: {strerror(errno).decode()}")
        # The ring twice, one behind the other, in a range that is reserved first.
        base = <char *>mmap(NULL, octets + ring_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if base == <char *>MAP_FAILED:
            raise OSError(errno, f"{what}'s ring: {strerror(errno).decode()}")
        self.spool.shared = <SpoolShared *>base
        self.spool.ring = <uint8_t *>base + SPOOL_PAGE
        self.spool.bytes = ring_bytes
        if (mmap(base, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self.memfd, 0) == MAP_FAILED
                or mmap(base + octets, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self.memfd,
                        SPOOL_PAGE) == MAP_FAILED):
            raise OSError(errno, f"{what}'s ring: {strerror(errno).decode()}")
        self.spool.shared.magic = magic
        self.spool.shared.version = SPOOL_VERSION
        self.spool.shared.bytes = ring_bytes

    def __dealloc__(self):
        if self.spool.shared != NULL:
            munmap(self.spool.shared, SPOOL_PAGE + 2 * self.spool.bytes)
        if self.memfd >= 0:
            close(self.memfd)
