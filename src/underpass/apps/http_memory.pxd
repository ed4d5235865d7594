"""What the HTTP server knows of its connections, in shared memory: another process can go on with it, whatever ended this one.

    header | a connection's 64 octets, x capacity | blocks | their owners | files in transfer

A response that is still being sent names an entry of the file cache, which is the process's own; beside it stands here which
file that is. It is opened anew by the next process: where it is no longer the same the connection is reset, so that nobody gets
a mixture of two.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.apps.file_cache cimport NamedFile
from underpass.apps.http_blocks cimport Block, BlockOwner
from underpass.apps.http_state cimport HttpConn, HttpCounters

cdef struct HttpHeader:
    uint64_t layout                 # sizes of all structs: another program may have others
    uint32_t capacity               # connections
    uint32_t blocks
    uint32_t files                  # entries of the file cache
    uint32_t taking_up              # files are being opened anew: meanwhile the names here belong to nobody
    HttpCounters counters


cdef class HttpMemory:
    """Owns the memory. `memfd`, which stays the caller's, has it from `at` on, as another process has left it, of the same
    sizes; where it ends there it is made longer. `end` is where this one ends.
    """
    cdef HttpHeader *header
    cdef HttpConn *conns
    cdef Block *blocks
    cdef BlockOwner *owners
    cdef NamedFile *files
    cdef void *base
    cdef size_t bytes
    cdef readonly uint64_t end
    cdef readonly int memfd
