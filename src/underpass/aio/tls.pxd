"""TLS: asyncio's own SSLProtocol, of which what every record passes is compiled.

    data_received <-- take_records <-- SSLObject.read  <-- incoming BIO <-- fed         (octets of the transport)
    write         --> put          --> SSLObject.write --> outgoing BIO --> transport.write

The fields are SSLProtocol's, by its names, so that all else - handshake, shutdown, flow control beyond a comparison, errors - is
the code of the Python that runs it.
"""


cdef class TlsRecords:
    cdef public object _incoming            # ssl.MemoryBIO, both
    cdef public object _outgoing
    cdef public object _sslobj              # ssl.SSLObject
    cdef public object _state               # SSLProtocolState
    cdef public object _transport
    cdef public object _app_protocol
    cdef public object _write_backlog       # a deque
    cdef public Py_ssize_t _write_buffer_size
    cdef public Py_ssize_t _incoming_high_water
    cdef public Py_ssize_t _incoming_low_water
    cdef public Py_ssize_t _outgoing_high_water
    cdef public Py_ssize_t _outgoing_low_water
    cdef public bint _app_protocol_is_buffer
    cdef public bint _app_reading_paused
    cdef public bint _app_writing_paused
    cdef public bint _ssl_reading_paused
    cdef public bint _ssl_writing_paused
    cdef object known                       # the SSLObject that `records` is of
    cdef object records                     # what reads and writes for it

    # Octets have come.
    cdef int fed(self, bytes octets) except -1
    cdef int advance(self) except -1
    cdef int put(self, object data) except -1
    cdef object engine(self)
    cdef bint nothing_left(self) except -1
