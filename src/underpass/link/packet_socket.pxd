"""A packet socket that sends packets for the kernel to cut up: segmentation offload, which AF_XDP lacks."""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport FramePool
from underpass.link.link cimport Desc

# A socket bound to an interface that receives nothing. Raises OSError.
cdef int packet_socket_open(uint32_t ifindex) except -1
# Send one packet with DESC_SEGMENTS; returns 0 or the errno. The kernel has copied what it took.
cdef int packet_socket_send(int fd, FramePool *pool, const Desc *packet, uint32_t parts) noexcept nogil
