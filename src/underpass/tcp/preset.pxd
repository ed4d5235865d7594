"""What an application may set of a connection, in one place: read from a connection, from a listener, or set before there
is either.
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Preset, Tcp

cdef enum:
    KEEP_IDLE_MS = 7200000          # RFC 9293 3.8.4: two hours
    KEEP_INTERVAL_MS = 75000
    KEEP_COUNT = 9
    # Acknowledgments sent at once, as RFC 5681 4.2 allows, at the start and after a loss: the peer's window may then be
    # a segment or two, and while an acknowledgment waits for one more it stands still.
    QUICK_ACKS = 16

# What a connection has of which nothing was set.
cdef void preset_default(const Tcp *tcp, Preset *preset) noexcept nogil
# What a connection has now; its buffers as their size tunes them.
cdef void preset_read(Tcp *tcp, uint32_t conn, Preset *preset) noexcept nogil
# Have a connection begin with it: before its SYN has left, or its listener's answer.
cdef void preset_begin(Tcp *tcp, uint32_t conn, const Preset *preset) noexcept nogil
# Change an open connection to it: what was held back is sent, timers move.
cdef void preset_change(Tcp *tcp, uint32_t conn, const Preset *preset) noexcept nogil
