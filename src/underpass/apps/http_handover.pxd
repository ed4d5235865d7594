"""The HTTP server's connections, put down by one process and taken up by another.

    header | parked | path | block | parked | ...

A parked connection is its HttpConn as it stands. One whose response is still being sent has the path of its file behind
it, and one that has a block, what stands in that. The file is opened anew: where it is no longer the same the connection
is reset, so that nobody gets a mixture of two.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.apps.file_cache cimport Identity
from underpass.apps.http_state cimport Http, HttpConn, HttpCounters
from underpass.tcp.tcb cimport Tcp

cdef struct ParkedHeader:
    uint64_t layout             # sizes of all structs: another program may have others
    uint64_t count
    HttpCounters counters

cdef struct Parked:
    uint32_t conn
    uint32_t path_octets
    uint32_t block_octets
    uint32_t spare
    HttpConn it
    Identity identity

# Everything as octets.
cdef bytes http_park(Http *http)
# Go on from there. Raises ValueError for what another layout has left, and for what ends too early.
cdef int http_take_up(Tcp *tcp, Http *http, const unsigned char[::1] octets) except -1
