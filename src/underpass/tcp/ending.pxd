"""The end of a connection: FIN handshakes, resets, timeouts (RFC 9293 3.6, 3.10.4, 3.10.5)."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

# The application sends no more: FIN follows what is queued.
cdef void ending_shutdown(Tcp *tcp, uint32_t conn) noexcept nogil
# The application lets go: it is told nothing more.
cdef void ending_close(Tcp *tcp, uint32_t conn) noexcept nogil
# It let go, and the peer has acknowledged something new, or may yet: the time for the rest begins again.
cdef void ending_progress(Tcp *tcp, uint32_t conn) noexcept nogil
# It let go, and all is acknowledged: how long the peer has for its own FIN.
cdef void ending_fin_wait_2(Tcp *tcp, uint32_t conn) noexcept nogil
# Reset the connection (RFC 9293 3.10.5) and let go.
cdef void ending_abort(Tcp *tcp, uint32_t conn) noexcept nogil
# The connection is gone: out of the table, timers stopped, send queue freed; the application is told `error` (0: both sides
# finished) unless it let go before. What it has not read stays readable until then.
cdef void ending_gone(Tcp *tcp, uint32_t conn, int error) noexcept nogil
# Send a reset where the state wants one (RFC 9293 3.10.5), then ending_gone.
cdef void ending_reset(Tcp *tcp, uint32_t conn, int error) noexcept nogil
# The same for every connection there is, let go or not, as where the process ends: what the device takes of the resets is on its
# way then. Returns how many connections there were.
cdef uint32_t ending_reset_all(Tcp *tcp, int error) noexcept nogil
# Both FINs are through: into TIME_WAIT (RFC 9293 3.6).
cdef void ending_time_wait(Tcp *tcp, uint32_t conn) noexcept nogil
# Give the block back; called when the application is through with a connection that is gone.
cdef void ending_release(Tcp *tcp, uint32_t conn) noexcept nogil
# The half-open count of the listener, once the handshake is over either way.
cdef void ending_handshake_over(Tcp *tcp, uint32_t conn) noexcept nogil
