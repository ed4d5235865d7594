"""What holds of every connection between two segments. Each rule is a sentence that is true; a broken one is returned, and
NULL where none is broken. The tests look after each turn, `tcp/rebuild.pyx` after a crash: nothing is taken for granted here
that was not looked at before.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, Tcp

# The fields that the engine uses as indexes, shifts and lengths without another look.
cdef const char *sound_fields(const Tcp *tcp, uint32_t conn) noexcept nogil
# Queues for receiving and sending, and the sums that are kept of them. Their frames are added to `frames`, and noted in
# `claims`, which has for each frame of the pool the connection in whose queue it stands (or NO_CONN); NULL: not.
cdef const char *sound_receiving(Tcp *tcp, uint32_t conn, uint32_t *claims, uint64_t *frames) noexcept nogil
cdef const char *sound_sending(Tcp *tcp, uint32_t conn, uint32_t *claims, uint64_t *frames) noexcept nogil
# Sequence numbers and windows.
cdef const char *sound_numbers(const Tcb *tcb) noexcept nogil
cdef const char *sound_fast_open(Tcp *tcp, uint32_t conn) noexcept nogil


cdef bint sound_waits_for_data(const Tcb *tcb) noexcept nogil
