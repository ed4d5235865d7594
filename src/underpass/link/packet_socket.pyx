"""Segmentation offload by packet(7): PACKET_VNET_HDR tells the kernel where the headers end and how long a segment is.

Where the device cannot segment, and the receiver cannot take the packet whole, the kernel cuts it up just before the
driver; either way one packet of up to 64 KiB passes through the kernel instead of one for each segment.
"""
from libc.errno cimport EINVAL, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from posix.unistd cimport close

import os

from underpass.link.frames cimport frame_chunk
from underpass.link.link cimport SEGMENTS_MAX
from underpass.link.xsk_uapi cimport (
    MSG_DONTWAIT, SO_SNDBUFFORCE, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET, bind, setsockopt, sockaddr, socket,
)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    enum:
        AF_PACKET
        SOL_PACKET

cdef extern from "<linux/if_packet.h>" nogil:
    struct sockaddr_ll:
        uint16_t sll_family
        int sll_ifindex
    enum:
        PACKET_VNET_HDR

cdef extern from "<linux/virtio_net.h>" nogil:
    struct virtio_net_hdr:
        uint8_t flags
        uint8_t gso_type
        uint16_t hdr_len
        uint16_t gso_size
        uint16_t csum_start
        uint16_t csum_offset
    enum:
        VIRTIO_NET_HDR_F_NEEDS_CSUM
        VIRTIO_NET_HDR_GSO_TCPV4
        VIRTIO_NET_HDR_GSO_TCPV6

cdef enum:
    SEND_BUFFER = 4 << 20           # what waits in a peer's or the device's queue counts against it
    IP_VERSION_4 = 4


cdef int packet_socket_open(uint32_t ifindex) except -1:
    cdef sockaddr_ll address
    cdef int on = 1
    cdef int send_buffer = SEND_BUFFER
    cdef int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)
    if fd < 0:
        raise OSError(errno, f"cannot open a packet socket (CAP_NET_RAW is needed): {os.strerror(errno)}")
    memset(&address, 0, sizeof(address))
    address.sll_family = AF_PACKET
    address.sll_ifindex = <int>ifindex
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on))
            or bind(fd, <sockaddr *>&address, sizeof(address))):
        error = errno
        close(fd)
        raise OSError(error, f"a packet socket for segmentation: {os.strerror(error)}")
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer, sizeof(send_buffer))
    return fd


cdef int packet_socket_send(int fd, FramePool *pool, const Desc *packet, uint32_t parts) noexcept nogil:
    cdef virtio_net_hdr offload
    cdef iovec[SEGMENTS_MAX + 1] octets
    cdef msghdr message
    cdef uint32_t i
    if parts > SEGMENTS_MAX or packet.header_bytes >= packet.length:
        return EINVAL
    for i in range(parts):
        octets[i + 1].iov_base = frame_chunk(pool, packet[i].frame) + packet[i].offset
        octets[i + 1].iov_len = packet[i].length
    describe(packet, <const uint8_t *>octets[1].iov_base, &offload)
    octets[0].iov_base = &offload
    octets[0].iov_len = sizeof(offload)
    memset(&message, 0, sizeof(message))
    message.msg_iov = octets
    message.msg_iovlen = parts + 1
    return errno if sendmsg(fd, &message, MSG_DONTWAIT) < 0 else 0


cdef inline void describe(const Desc *packet, const uint8_t *octets, virtio_net_hdr *offload) noexcept nogil:
    """struct virtio_net_hdr, in native byte order here; the IP version is what the kernel asks for besides."""
    cdef bint v4 = octets[ip_offset(octets)] >> 4 == IP_VERSION_4
    offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM
    offload.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 if v4 else VIRTIO_NET_HDR_GSO_TCPV6
    offload.hdr_len = packet.header_bytes
    offload.gso_size = <uint16_t>(packet.length - packet.header_bytes)
    offload.csum_start = packet.csum_start
    offload.csum_offset = packet.csum_offset


cdef inline uint32_t ip_offset(const uint8_t *octets) noexcept nogil:
    """Behind Ethernet and at most one tag, as headers are written here."""
    return 18 if octets[12] == 0x81 and octets[13] == 0 else 14
