"""The tap: copies of what a worker receives and sends, as blocks of pcapng, in a ring that another process reads.

A memfd that the worker makes and seals, so that its size is sure; the reader is handed it. One producer, one consumer,
octets that are only ever counted up; a block stands at its count modulo the ring's size:

    page 0    TapShared: counts of the worker, and in a cache line of its own that of the reader
    page 1..  the ring
                                 consumed              produced
              ..... free ....... | blocks to be read . | free ......

The worker trusts nothing that it reads there, which is `consumed` alone: whatever stands in it, a block is written
inside the ring or dropped and counted. Where the reader is slow the newest packets are dropped; the worker never waits.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.link cimport Desc, Link
from underpass.stack.bpf cimport BpfInsn
from underpass.tcp.tcb cimport Tcp

cdef extern from * nogil:
    uint64_t load_count "__atomic_load_n"(const uint64_t *count, int order)
    void store_count "__atomic_store_n"(uint64_t *count, uint64_t value, int order)
    enum:
        ACQUIRE_COUNT "__ATOMIC_ACQUIRE"
        RELEASE_COUNT "__ATOMIC_RELEASE"

cdef enum:
    TAP_MAGIC = 0x70547055          # "UpTp"
    TAP_VERSION = 1
    TAP_PAGE = 4096
    TAP_RING_LEAST = 1048576        # octets: room for several of the longest packets
    TAP_RING_MOST = 268435456
    TAP_SNAPLEN_MOST = 262144
    TAP_RUN = 256                   # packets that are offered to the link at once
    TAP_WHYS = 48                   # room for all reasons

cdef struct TapShared:
    uint32_t magic
    uint32_t version
    uint64_t bytes                  # of the ring, a power of two
    uint64_t[6] spare
    uint64_t produced               # octets
    uint64_t passed                 # packets: all
    uint64_t matched                # of them, those that were asked for
    uint64_t dropped                # of these, those for which there was no room
    uint64_t[4] spare_too
    uint64_t consumed               # octets; the reader's

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
    TapShared *shared
    uint8_t *ring                   # mapped twice in a row, so that no block is ever in two pieces
    uint64_t bytes
    uint64_t consumed               # as last seen
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
    """Owns a tap's memory."""
    cdef Tap tap
    cdef bytes program
    cdef readonly int memfd

    cdef int set_program(self, bytes program) except -1
    cdef int map_ring(self, uint64_t ring_bytes) except -1
    cdef int list_reasons(self) except -1
    # Put it before the link of `tcp`, and take it away again.
    cdef void attach(self, Tcp *tcp) noexcept
    cdef void detach(self, Tcp *tcp) noexcept
