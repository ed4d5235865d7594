"""An asyncio transport over a connection of the stack.

Received octets are copied once, from their frames into the `bytes` of data_received or the buffer of a BufferedProtocol.
Written octets are copied once, into frames; what the send queue does not take waits in `backlog`, as asyncio's own
transports have it, and counts for the protocol's flow control. While reading is paused octets stay in the stack, whose
receive window closes.
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.aio.dispatch cimport Endpoint, flag
from underpass.aio.tls cimport TlsRecords


cdef class StackTransport(Endpoint):
    cdef readonly object _loop
    cdef object protocol
    cdef TlsRecords tls             # the protocol, where it is ours; None
    cdef object context             # in which the protocol is called
    cdef object server              # attached to it, or None
    cdef dict extra                 # None while it is empty
    cdef object socket              # made when it is asked for
    cdef object holder              # a kernel socket that holds our port meanwhile, or None
    cdef object backlog             # deque of bytes, or None while nothing waits
    cdef object empty_waiter        # sendfile waits for the backlog's end
    cdef Py_ssize_t backlog_bytes
    cdef Py_ssize_t high
    cdef Py_ssize_t low
    cdef uint32_t conn_lost         # closing once the backlog is sent, and writes since
    cdef flag buffered              # a BufferedProtocol
    cdef flag streamed              # asyncio's own protocol of streams
    cdef flag started               # connection_made was called
    cdef flag reading_paused
    cdef flag writing_paused
    cdef flag closing
    cdef flag eof_written
    cdef flag eof_received
    cdef flag read_shut             # by the program
    cdef flag lossy                 # written octets were thrown away: the end is a reset

    cdef int read(self) except -1
    cdef int read_octets(self, uint32_t count) except -1
    cdef int read_stream(self, uint32_t count) except -1
    cdef int append(self, bytearray buffer, uint32_t count) except -1
    cdef int read_records(self, uint32_t count) except -1
    cdef int read_into_buffer(self, uint32_t count) except -1
    cdef int read_end(self) except -1
    cdef bint is_at_end(self) noexcept
    cdef int flush(self) except -1
    cdef int closed(self) except -1
    cdef bint owes(self) noexcept
    cdef int ended(self) except -1
    cdef Py_ssize_t send(self, const uint8_t *octets, Py_ssize_t count) noexcept
    cdef Py_ssize_t fill(self, const uint8_t *octets, Py_ssize_t count) noexcept
    cdef int keep(self, object rest) except -1
    cdef int write_octets(self, object data) except -1
    cdef int write_view(self, object data) except -1
    cdef int may_write(self) except -1
    cdef int fail(self, object error, str message) except -1
    cdef int pause_protocol(self) except -1
    cdef int resume_protocol(self) except -1
    cdef int lose(self, object error, bint reset) except -1
    cdef int remember(self) except -1
