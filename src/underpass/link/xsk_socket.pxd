"""One AF_XDP socket with its four rings, for one queue of an interface."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FramePool, QueuePut
from underpass.link.xsk_ring cimport Ring

cdef enum:
    TX_METADATA_BYTES = 24      # sizeof(TxMetadata), in front of a sent packet's first octet

cdef struct Xsk:
    int fd
    uint32_t queue              # of the interface
    Ring rx
    Ring tx
    Ring fill
    Ring completion
    QueuePut *put               # beside the frames, for a process that goes on
    uint32_t in_fill            # frames that the kernel has to receive into
    uint32_t fill_target        # how many it should have
    bint skipping               # within a packet that was too long: its other parts go as well

# A socket with rings of `entries` each (a power of two), mapped, not yet bound. Raises OSError.
cdef int xsk_open(Xsk *xsk, uint32_t queue, uint32_t entries) except -1
# A bound socket of another process, whose descriptor is ours from now on: its rings, which have so many entries, are
# mapped here too. Raises OSError.
cdef int xsk_adopt(Xsk *xsk, int fd, uint32_t queue, uint32_t entries) except -1
cdef int xsk_map(Xsk *xsk, uint32_t entries) except -1
# Make the pool's memory the socket's UMEM. Returns octets of TX metadata, 0 before Linux 6.8.
cdef int xsk_register_umem(Xsk *xsk, FramePool *pool, bint metadata, bint software_checksum) except -1
# Bind to a queue, waiting up to 100 ms for an earlier socket on it to go. Returns 0 or the errno.
cdef int xsk_bind(Xsk *xsk, uint32_t ifindex, uint32_t flags, int umem_fd) except -1
# Whether the bound socket is in zero-copy mode.
cdef bint xsk_is_zero_copy(const Xsk *xsk) noexcept
# What the kernel counted for sockets, by their descriptors (XDP_STATISTICS), summed: packets that it dropped, and why.
cdef dict xsk_statistics(list fds)
# Set SO_PREFER_BUSY_POLL and its companions. Returns 0 or the errno.
cdef int xsk_prefer_busy_poll(const Xsk *xsk) noexcept
# A socket stays bound while one of its rings is mapped: all four go, then the descriptor.
cdef void xsk_close(Xsk *xsk) noexcept
