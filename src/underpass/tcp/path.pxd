"""The size of segments that a path takes (RFC 1191, RFC 8201), and what to do where nobody says it (RFC 4821).

    route's MTU ----- too big (ICMP) ------> its MTU: after path_mtu_ms once more the route's
        '--- large segments vanish ---> a usual small one: larger ones by probes (tcp/path_probe.pxd)

A segment in flight that is too large is split where it lies in the send queue, and sent again at once: that it was lost
says nothing about congestion, so the congestion window stays (RFC 8201 5.4).
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PATH
from underpass.wire.icmp cimport IcmpError

cdef enum PathProbing:              # Limits.mtu_probing
    PROBING_OFF = 0
    PROBING_AFTER_BLACK_HOLE = 1    # segments become smaller where large ones seem to vanish, and larger by probes

# The largest IP packet that the connection sends.
cdef uint32_t path_mtu(const Tcp *tcp, uint32_t conn) noexcept nogil
# Octets of payload in the largest segment that the route, the peer and a frame take.
cdef uint32_t path_most(const Tcp *tcp, uint32_t conn) noexcept nogil
# Segments become larger, up to that.
cdef void path_enlarge(Tcb *tcb, uint32_t mss) noexcept nogil
# A router, or who pretends to be one, refused a segment in flight for its size.
cdef void path_too_big(Tcp *tcp, uint32_t conn, const IcmpError *error) noexcept nogil
# The retransmission timer fired again and again for the same segment.
cdef void path_suspect(Tcp *tcp, uint32_t conn) noexcept nogil
# Where segments are smaller than the route allows: see whether it is time to try larger ones.
cdef void path_raise(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline bint path_lowered(const Tcb *tcb) noexcept nogil:
    return tcb.traits & TRAIT_PATH != 0
