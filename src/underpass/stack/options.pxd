"""Socket options of connections and listeners, by the numbers that Linux gives them."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Preset, Tcp

cdef struct Target:                 # whose options they are
    Tcp *tcp
    uint32_t conn                   # or NO_CONN: of what has yet to be opened
    uint32_t listener               # its number, where `listening`
    bint listening
    bint v6
    Preset preset

# The option's value: an int, or the octets of a structure or name; with `buflen` always octets, that many at most.
cdef object option_get(Target *target, int level, int option, int buflen)
# Check the value as Linux does and change target.preset; the caller puts that into force.
cdef int option_set(Target *target, int level, int option, object value) except -1
# The options of a connection, for both of the above.
cdef void option_target(Tcp *tcp, uint32_t conn, Target *target) noexcept
# The number of a congestion control by its name (bytes or str); CONGESTION_CONTROLS: there is none.
cdef uint32_t congestion_index(object name) except? 0xFFFFFFFF
