"""The counters of tcp by name: the struct in tcb.pxd is the one list of them."""
from libc.string cimport memset

from underpass.tcp.tcb cimport TcpCounters


cdef dict counters_by_name(const TcpCounters *counters):
    cdef dict named = counters[0]
    del named["refused"]
    return named


cdef tuple _names():
    cdef TcpCounters none
    memset(&none, 0, sizeof(TcpCounters))
    return tuple(counters_by_name(&none))


TCP_COUNTERS = _names()
