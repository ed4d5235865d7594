"""DCTCP (RFC 8257): the window goes down by as much as the share of octets that came marked, not by half.

It wants ECN on the connection, and a peer that runs it too; where the peer does not agree to ECN it is NewReno. Its
marks are meant for switches that mark early: for data centers, not for the Internet (RFC 8257 5).
"""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.newreno cimport NewReno
from underpass.tcp.tcb cimport Tcp
from underpass.wire.seq cimport seq_t

cdef struct Dctcp:                  # in TcbRare.congestion_state
    NewReno newreno
    seq_t window_end                # the observation window ends when this is acknowledged
    uint32_t acked                  # octets acknowledged in it
    uint32_t marked                 # of them by ACKs with ECE
    float alpha                     # DCTCP.Alpha: the share of marked octets, smoothed

cdef void dctcp_start(Tcp *tcp, uint32_t conn) noexcept nogil
# Each ACK of a connection with ECN: estimate alpha.
cdef void dctcp_echoed(Tcp *tcp, uint32_t conn, uint32_t octets, bint marked) noexcept nogil
# The first mark of a window of data.
cdef void dctcp_marked(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
