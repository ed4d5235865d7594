"""Responses into the send queue, and connections to their end."""
from libc.stdint cimport uint32_t

from underpass.apps.http_state cimport Http, HttpConn, Output
from underpass.tcp.tcb cimport Tcp

# Send what there is room for and keep the rest for later; then let go of `taken` octets of requests. The
# connection is SENDING, or ready for the next request, or at its end.
cdef void http_send(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, Output *out,
                    uint32_t taken) noexcept nogil
# Go on when there is room again.
cdef void http_resume(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil
# Throw away what comes, until the peer closes.
cdef void http_linger(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil
cdef void http_close(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil
cdef void http_abort(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil
# The connection is no longer ours: give back what it held.
cdef void http_forget(Tcp *tcp, Http *http, HttpConn *it) noexcept nogil
# A block; where all are in use, the one of the slowest request, whose connection is given up for it. Or
# NO_BLOCK.
cdef uint32_t http_block(Tcp *tcp, Http *http, uint32_t conn, bint gathering) noexcept nogil
