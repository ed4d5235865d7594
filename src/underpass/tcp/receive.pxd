"""Segment text (RFC 9293 3.10.7.4, seventh and eighth step): the receive queue, reassembly, and what is owed to the peer."""
from libc.stdint cimport uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

cdef enum:
    MAX_PARTS = 40              # 64 KiB in frames of 2048 octets: what a kernel hands over that has not cut it up

cdef struct Part:               # payload of one segment that lies in one frame
    uint32_t frame
    uint16_t offset
    uint16_t length

cdef struct Arrival:            # a segment and the frames that it came in; a frame kept is set to NO_FRAME
    Segment seg
    Part[40] parts              # MAX_PARTS
    uint32_t count
    bint handed                 # by another worker

# Take the payload that lies in the window: in order into the receive queue, out of order into its list. Decides how soon it is
# to be acknowledged.
cdef void receive_text(Tcp *tcp, uint32_t conn, Arrival *arrival) noexcept nogil
# The segment carries FIN: note where it stands; when all before it is here, RCV.NXT passes it. True: it was processed now.
cdef bint receive_fin(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
# Give back all that waits out of order (it was never acknowledged).
cdef void receive_drop_out_of_order(Tcp *tcp, uint32_t conn) noexcept nogil
# The application read `octets` from the head of the queue.
cdef void receive_consumed(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil
