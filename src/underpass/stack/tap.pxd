"""The tap: copies of what a worker receives and sends, as blocks of pcapng, in a spool that another process reads
(see link/spool.pxd). Where the reader is slow the newest packets are dropped; the worker never waits.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.link cimport Desc, Link
from underpass.link.spool cimport Spool, SpoolMemory
from underpass.stack.bpf cimport BpfInsn
from underpass.tcp.tcb cimport Tcp

cdef enum:
    TAP_SNAPLEN_MOST = 262144
    TAP_RUN = 256                   # packets that are offered to the link at once
    TAP_WHYS = 48                   # room for all reasons

cdef struct TapCounts:
    uint64_t filled                 # octets of whole blocks, and where the next one goes
    uint64_t passed
    uint64_t matched
    uint64_t dropped

cdef struct TapWhy:                 # one reason why a packet is not accepted
    uint32_t counter                # its place among TcpCounters
    uint32_t bytes                  # of the comment; 0: it was given to another worker
    uint64_t before                 # the counter, before the packet
    char[64] comment                # PCAPNG_COMMENT_BYTES

cdef enum TapFound:
    TAP_PASS = 0                    # not asked for
    TAP_WRITTEN = 1                 # so many octets stand behind the last whole block: `captured`
    TAP_NO_ROOM = 2

cdef struct Tap:
    Link link                       # stands before the worker's own, to see what is sent
    Link *below
    Spool spool
    TapCounts counts
    const BpfInsn *program          # NULL: every packet
    uint8_t *whole                  # a packet of several parts, put together for the program
    uint32_t snaplen
    uint32_t interface
    uint64_t epoch_ns               # the wall clock's time at 0 of the worker's
    bint refused_only
    TapFound found                  # of the packet that is being dealt with
    uint32_t captured
    uint32_t whys
    TapWhy[48] why
    TapCounts[256] after            # each packet of a run


# Received packets: before the first of a batch; each, before it is taken in and after; behind the last.
cdef void tap_batch(Tap *tap, const Tcp *tcp) noexcept nogil
cdef void tap_arrives(Tap *tap, const Tcp *tcp, const Desc *packet, uint32_t parts) noexcept nogil
cdef void tap_arrived(Tap *tap, const Tcp *tcp) noexcept nogil
cdef void tap_publish(Tap *tap) noexcept nogil


cdef class PacketTap:
    """A tap, and what it needs."""
    cdef Tap tap
    cdef bytes program
    cdef readonly SpoolMemory memory

    cdef int set_program(self, bytes program) except -1
    cdef int list_reasons(self) except -1
    # Put it before the link of `tcp`, and take it away again.
    cdef void attach(self, Tcp *tcp) noexcept
    cdef void detach(self, Tcp *tcp) noexcept
