"""Packetization-layer path MTU discovery (RFC 4821, RFC 8899): once large segments have vanished, larger ones are tried.

    mss                 probe                path_high
     |--- fit the path ---|--- not known ----|--- vanish ---
                      arrives: mss     lost three times: path_high

A probe is a segment of the stream, larger than the others, with enough behind it that RACK sees its loss. That one alone
is no sign of congestion (RFC 4821 7.4): its octets are sent again in usual segments, and the window stays. When no more
than PROBE_STEP octets are uncertain the search rests for path_mtu_ms; then it begins again with the largest size of all,
for the path may have changed. Where segments are as large as the route allows it is over.
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PATH_PROBE

cdef enum:
    PROBE_STEP = 8                  # octets, as with Linux

cdef enum ProbeStep:
    PROBE_NONE = 0
    PROBE_WAITS = 1                 # nothing new should leave before it
    PROBE_MADE = 2

# A black hole was found: segments of `vanished` octets do not arrive.
cdef void path_probe_search(Tcp *tcp, uint32_t conn, uint32_t vanished) noexcept nogil
# Make the next frame to be sent a probe, where it is time for one, and the congestion window has room for it.
cdef ProbeStep path_probe_make(Tcp *tcp, uint32_t conn) noexcept nogil
# It has left.
cdef void path_probe_sent(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil
# An ACK came: it may be for the probe.
cdef void path_probe_acknowledged(Tcp *tcp, uint32_t conn) noexcept nogil
# RACK has found losses, outside any recovery. True: the probe is all that is missing, and will be sent again.
cdef bint path_probe_lost(Tcp *tcp, uint32_t conn) noexcept nogil
# A frame is sent again: if it is the probe, what comes of it tells nothing any more.
cdef void path_probe_resent(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil
# A router refused the probe, and told the path's MTU in payload of a segment.
cdef void path_probe_refused(Tcp *tcp, uint32_t conn, uint32_t mss) noexcept nogil


cdef inline bint path_probe_outstanding(const Tcb *tcb) noexcept nogil:
    return tcb.traits & TRAIT_PATH_PROBE != 0
