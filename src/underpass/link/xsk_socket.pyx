"""Setting up AF_XDP sockets on the kernel's own interface (Documentation/networking/af_xdp.rst)."""
from libc.errno cimport EBUSY, EINVAL, ENOBUFS, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.mman cimport MAP_FAILED, MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport close, usleep

import os

from underpass.link.frames cimport FramePool
from underpass.link.xsk_ring cimport Ring
from underpass.link.xsk_uapi cimport *

cdef enum:
    BIND_TRIES = 20
    BIND_PAUSE_US = 5000
    TX_BUDGET = 256             # descriptors that one sendto should drain
    BUSY_POLL_US = 20
    BUSY_POLL_BUDGET = 64
    SEND_BUFFER_PER_ENTRY = 4096


cdef int set_option(int fd, int level, int option, int value) noexcept:
    return setsockopt(fd, level, option, &value, sizeof(value))


cdef int refused(str what) except -1:
    raise OSError(errno, f"{what}: {os.strerror(errno)}")


cdef int map_ring(int fd, Ring *ring, const xdp_ring_offset *at, uint32_t entries, size_t entry_bytes,
                  uint64_t page) except -1:
    cdef size_t octets = at.desc + entries * entry_bytes
    cdef void *base = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page)
    if base == MAP_FAILED:
        refused("cannot map an AF_XDP ring")
    ring.map, ring.map_bytes = base, octets
    ring.producer = <uint32_t *>(<char *>base + at.producer)
    ring.consumer = <uint32_t *>(<char *>base + at.consumer)
    ring.flags = <uint32_t *>(<char *>base + at.flags)
    ring.entries = <char *>base + at.desc
    ring.mask = entries - 1
    ring.produced, ring.consumed = ring.producer[0], ring.consumer[0]
    return 0


cdef int xsk_open(Xsk *xsk, uint32_t queue, uint32_t entries) except -1:
    cdef int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)
    memset(xsk, 0, sizeof(Xsk))
    xsk.fd, xsk.queue = fd, queue
    if fd < 0:
        refused("cannot open an AF_XDP socket (CAP_NET_RAW is needed)")
    for option in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING):
        if set_option(fd, SOL_XDP, option, entries):
            refused(f"an AF_XDP ring of {entries} entries")
    xsk_map(xsk, entries)
    # In copy mode what waits in the peer's queue counts against the send buffer.
    set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, entries * SEND_BUFFER_PER_ENTRY)
    # Fewer, longer drains where the kernel allows them.
    set_option(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, min(entries, <uint32_t>TX_BUDGET))
    return 0


cdef int xsk_adopt(Xsk *xsk, int fd, uint32_t queue, uint32_t entries) except -1:
    memset(xsk, 0, sizeof(Xsk))
    xsk.fd, xsk.queue = fd, queue
    return xsk_map(xsk, entries)


cdef int xsk_map(Xsk *xsk, uint32_t entries) except -1:
    cdef int fd = xsk.fd
    cdef xdp_mmap_offsets offsets
    cdef socklen_t room = sizeof(offsets)
    if getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &room):
        refused("cannot ask for the layout of the AF_XDP rings")
    map_ring(fd, &xsk.rx, &offsets.rx, entries, sizeof(xdp_desc), XDP_PGOFF_RX_RING)
    map_ring(fd, &xsk.tx, &offsets.tx, entries, sizeof(xdp_desc), XDP_PGOFF_TX_RING)
    map_ring(fd, &xsk.fill, &offsets.fr, entries, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING)
    map_ring(fd, &xsk.completion, &offsets.cr, entries, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING)
    return 0


cdef int try_umem(const Xsk *xsk, FramePool *pool, uint32_t flags, uint32_t metadata_bytes) noexcept:
    """Register with these flags: 0 or the errno. A refused registration leaves nothing behind."""
    cdef UmemRegistration umem
    umem.addr = <uint64_t>pool.umem
    umem.len = <uint64_t>pool.state.count << pool.chunk_shift
    umem.chunk_bytes = pool.state.chunk_bytes
    umem.headroom = 0
    umem.flags = flags
    umem.tx_metadata_bytes = metadata_bytes
    return errno if setsockopt(xsk.fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) else 0


cdef int xsk_register_umem(Xsk *xsk, FramePool *pool, bint metadata, bint software_checksum) except -1:
    cdef int error = EINVAL
    cdef uint32_t software = XDP_UMEM_TX_SW_CSUM if software_checksum else 0
    if metadata:
        error = try_umem(xsk, pool, software | XDP_UMEM_TX_METADATA_LEN, TX_METADATA_BYTES)
        if error == EINVAL:             # 6.8 to 6.10 lack that flag; the other tells them from older kernels
            error = try_umem(xsk, pool, XDP_UMEM_TX_SW_CSUM, TX_METADATA_BYTES)
        if error == 0:
            return TX_METADATA_BYTES
    if error == EINVAL:
        error = try_umem(xsk, pool, 0, 0)
    if error:
        octets = <uint64_t>pool.state.count << pool.chunk_shift
        hint = " (raise RLIMIT_MEMLOCK, or run with CAP_IPC_LOCK)" if error == ENOBUFS else ""
        raise OSError(error, f"cannot register {octets} bytes for AF_XDP: {os.strerror(error)}{hint}")
    return 0


cdef int xsk_bind(Xsk *xsk, uint32_t ifindex, uint32_t flags, int umem_fd) except -1:
    cdef sockaddr_xdp address
    memset(&address, 0, sizeof(address))
    address.sxdp_family = AF_XDP
    address.sxdp_ifindex = ifindex
    address.sxdp_queue_id = xsk.queue
    address.sxdp_flags = XDP_SHARED_UMEM if umem_fd >= 0 else flags
    address.sxdp_shared_umem_fd = umem_fd if umem_fd >= 0 else 0
    for _ in range(BIND_TRIES):
        if bind(xsk.fd, <sockaddr *>&address, sizeof(address)) == 0:
            return 0
        if errno != EBUSY:
            break
        usleep(BIND_PAUSE_US)
    return errno


cdef bint xsk_is_zero_copy(const Xsk *xsk) noexcept:
    cdef xdp_options options
    cdef socklen_t room = sizeof(options)
    return getsockopt(xsk.fd, SOL_XDP, XDP_OPTIONS, &options, &room) == 0 and \
        (options.flags & XDP_OPTIONS_ZEROCOPY) != 0


cdef dict xsk_statistics(list fds):
    cdef xdp_statistics found
    cdef socklen_t room
    sums = dict.fromkeys(("rx_dropped", "rx_invalid_descs", "tx_invalid_descs", "rx_ring_full",
                          "rx_fill_ring_empty_descs", "tx_ring_empty_descs"), 0)
    for fd in fds:
        room = sizeof(found)
        memset(&found, 0, sizeof(found))
        if getsockopt(fd, SOL_XDP, XDP_STATISTICS, &found, &room) == 0:
            for name, value in dict(found).items():
                sums[name] += value
    return sums


cdef int xsk_prefer_busy_poll(const Xsk *xsk) noexcept:
    if (set_option(xsk.fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)
            or set_option(xsk.fd, SOL_SOCKET, SO_BUSY_POLL, BUSY_POLL_US)
            or set_option(xsk.fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET)):
        return errno
    return 0


cdef void unmap_ring(Ring *ring) noexcept:
    if ring.map != NULL:
        munmap(ring.map, ring.map_bytes)
    memset(ring, 0, sizeof(Ring))


cdef void xsk_close(Xsk *xsk) noexcept:
    unmap_ring(&xsk.rx)
    unmap_ring(&xsk.tx)
    unmap_ring(&xsk.fill)
    unmap_ring(&xsk.completion)
    if xsk.fd >= 0:
        close(xsk.fd)
    xsk.fd = -1
