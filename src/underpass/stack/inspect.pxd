"""What a worker shows of itself: states by name, rows in the manner of ss.

The rows are made of a connection's blocks alone, so that a reader in another process makes the same ones of copies. It
may hand over blocks with any contents: every value has a row, and none is followed as an index or a length.
"""
from libc.stdint cimport uint8_t, uint64_t, uint32_t

from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.tcb cimport Listener, Tcb, TcbCold, Tcp, TimeWait

cdef struct Blocks:                 # of one connection, at one time
    const Tcb *tcb
    const TcbCold *cold
    const TcbRare *rare             # looked at where CONN_RARE or a trait says that it is in use
    const Rate *rate                # and TRAIT_RATE
    uint64_t now_ns

cdef object state_name(uint8_t state)
# A row without the addresses.
cdef dict blocks_info(const Blocks *of)
# And with them.
cdef dict blocks_row(const Blocks *of)
cdef dict listener_row(const Listener *listener)
cdef dict time_wait_row(const TimeWait *wait, uint64_t now_ns)
# As blocks_info, and the MTU of the path, which the tables of the network tell.
cdef dict connection_info(const Tcp *tcp, uint32_t conn)
cdef list connection_rows(const Tcp *tcp)
