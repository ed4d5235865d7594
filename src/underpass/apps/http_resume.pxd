"""Going on with the HTTP connections that another process has left in `HttpMemory`.

Where that process ended in order, they are as they should be. Where it died, TCP has kept what can be kept, save the
connection that was at work; here each is held against what the server knew of it. One that TCP has lost is forgotten. One of
which the server knows nothing, or nothing that can be, is reset.
"""
from libc.stdint cimport uint8_t

from underpass.apps.http_memory cimport HttpMemory
from underpass.apps.http_state cimport Http
from underpass.tcp.tcb cimport Tcp

# `app`: the server's number; `crashed`: the process before died. Returns how many connections were reset, by reason.
cdef dict http_take_up(Tcp *tcp, Http *http, HttpMemory memory, uint8_t app, bint crashed)
