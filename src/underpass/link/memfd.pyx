"""Mapping memfds."""
from libc.errno cimport errno
from libc.string cimport strerror
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.stat cimport S_ISREG, fstat, struct_stat
from posix.unistd cimport close, dup, ftruncate

cdef extern from "<sys/mman.h>" nogil:
    int memfd_create(const char *name, unsigned int flags)
    enum: MFD_CLOEXEC


cdef inline bint reaches(int fd, size_t at, size_t bytes) noexcept:
    """Whether it does, or is made to where it ends at `at`; errno says why not. A map of BPF is no file that could grow."""
    cdef struct_stat facts
    if fstat(fd, &facts) != 0:
        return False
    return not S_ISREG(facts.st_mode) or <size_t>facts.st_size != at or ftruncate(fd, at + bytes) == 0


cdef void *memfd_map(int *own, int given, const char *name, size_t at, size_t bytes, str what) except NULL:
    cdef void *base = MAP_FAILED
    own[0] = dup(given) if given >= 0 else memfd_create(name, MFD_CLOEXEC)
    if own[0] >= 0 and reaches(own[0], at, bytes):
        base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, own[0], at)
    if base == MAP_FAILED:
        raise OSError(errno, f"{what}: {strerror(errno).decode()}")
    return base


cdef void memfd_unmap(int own, void *base, size_t bytes) noexcept:
    if base != NULL:
        munmap(base, bytes)
    if own >= 0:
        close(own)
