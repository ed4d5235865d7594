"""The kernel's AF_XDP interface: <linux/if_xdp.h> of Linux 6.1, and by their values what later kernels added.

What a kernel lacks it refuses at run time, and that refusal is the probe: nothing here asks for a version.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from "<sys/socket.h>" nogil:
    ctypedef uint32_t socklen_t
    struct sockaddr:
        pass
    int socket(int domain, int type, int protocol)
    int bind(int fd, const sockaddr *address, socklen_t bytes)
    int setsockopt(int fd, int level, int option, const void *value, socklen_t bytes)
    int getsockopt(int fd, int level, int option, void *value, socklen_t *bytes)
    ssize_t sendto(int fd, const void *data, size_t bytes, int flags, const sockaddr *to, socklen_t to_bytes)
    ssize_t recvfrom(int fd, void *data, size_t bytes, int flags, sockaddr *sender, socklen_t *sender_bytes)
    enum:
        SOCK_RAW
        SOCK_CLOEXEC
        SOL_SOCKET
        MSG_DONTWAIT

cdef extern from "<linux/if_xdp.h>" nogil:
    struct sockaddr_xdp:
        uint16_t sxdp_family
        uint16_t sxdp_flags
        uint32_t sxdp_ifindex
        uint32_t sxdp_queue_id
        uint32_t sxdp_shared_umem_fd
    struct xdp_ring_offset:
        uint64_t producer
        uint64_t consumer
        uint64_t desc
        uint64_t flags
    struct xdp_mmap_offsets:
        xdp_ring_offset rx
        xdp_ring_offset tx
        xdp_ring_offset fr
        xdp_ring_offset cr
    struct xdp_desc:
        uint64_t addr
        uint32_t len
        uint32_t options
    struct xdp_options:
        uint32_t flags
    struct xdp_statistics:
        uint64_t rx_dropped
        uint64_t rx_invalid_descs
        uint64_t tx_invalid_descs
        uint64_t rx_ring_full
        uint64_t rx_fill_ring_empty_descs
        uint64_t tx_ring_empty_descs
    enum:
        XDP_SHARED_UMEM
        XDP_COPY
        XDP_ZEROCOPY
        XDP_USE_NEED_WAKEUP
        XDP_RING_NEED_WAKEUP
        XDP_OPTIONS_ZEROCOPY
        XDP_MMAP_OFFSETS
        XDP_RX_RING
        XDP_TX_RING
        XDP_UMEM_REG
        XDP_UMEM_FILL_RING
        XDP_UMEM_COMPLETION_RING
        XDP_STATISTICS
        XDP_OPTIONS
        XDP_PGOFF_RX_RING
    const uint64_t XDP_PGOFF_TX_RING
    const uint64_t XDP_UMEM_PGOFF_FILL_RING
    const uint64_t XDP_UMEM_PGOFF_COMPLETION_RING

cdef enum:
    AF_XDP = 44
    SOL_XDP = 283
    SO_SNDBUFFORCE = 32
    SO_BUSY_POLL = 46
    SO_PREFER_BUSY_POLL = 69
    SO_BUSY_POLL_BUDGET = 70
    XDP_MAX_TX_SKB_BUDGET = 9           # 6.18: descriptors that one sendto drains in copy mode (32 before)

cdef enum:                              # 6.6: a packet in several descriptors
    XDP_USE_SG = 1 << 4                 # bind
    XDP_PKT_CONTD = 1 << 0              # descriptor: the packet goes on in the next one

cdef enum:                              # 6.8: what to do for a packet, in front of its first octet
    XDP_UMEM_TX_SW_CSUM = 1 << 1        # the kernel sums itself, in copy mode
    XDP_UMEM_TX_METADATA_LEN = 1 << 2   # 6.11: tx_metadata_bytes is meant
    XDP_TX_METADATA = 1 << 1            # descriptor: there is metadata
    XDP_TXMD_FLAGS_CHECKSUM = 1 << 1

cdef struct UmemRegistration:           # struct xdp_umem_reg; up to 6.7 the last field is padding
    uint64_t addr
    uint64_t len
    uint32_t chunk_bytes
    uint32_t headroom
    uint32_t flags
    uint32_t tx_metadata_bytes

cdef struct TxMetadata:                 # struct xsk_tx_metadata
    uint64_t flags
    uint16_t csum_start
    uint16_t csum_offset
    uint32_t padding
    uint64_t launch_time
