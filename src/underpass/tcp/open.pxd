"""What active and passive opens have in common: filling a connection block, and what the peer's SYN says."""
from libc.stdint cimport uint16_t, uint32_t

from underpass.tcp.tcb cimport Preset, Tcp
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment

# A block for the four-tuple, in the table, with limits, templates, ISS and timestamp offset set; state CLOSED. NO_CONN: the limit is reached or
# (active opens only) there is no route.
cdef uint32_t open_block(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                         uint16_t remote_port, uint16_t vlan, uint32_t hash, const Preset *preset) noexcept nogil
# RCV.NXT, IRS, MSS and the options agreed on, from the peer's SYN.
cdef void open_take_syn(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil
# The handshake is complete: windows, congestion control, keepalive.
cdef void open_established(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
# Send the SYN or SYN-ACK and start its timer.
cdef void open_send_syn(Tcp *tcp, uint32_t conn) noexcept nogil
