"""The one interface of all packet devices: receive a batch, transmit a batch, wake, and a descriptor to wait on.

References move with descriptors. `receive` hands over frames with one reference each. `transmit` consumes one reference
for each descriptor that it takes (it gives it back to the pool when the device has sent the frame) and none for
those that it leaves. A packet that spans several chunks is several descriptors, all but the last with DESC_CONTINUES;
`transmit` takes such a packet whole or not at all.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport FramePool, Frames

cdef enum:
    NEVER = 0xFFFFFFFFFFFFFFFF      # a deadline that does not come

cdef enum DescFlags:
    DESC_CONTINUES = 1          # the packet goes on in the next descriptor
    DESC_CHECKSUM = 2           # transmit: the device fills in the checksum at csum_start + csum_offset
    DESC_HANDED = 8             # received: another worker had it first
    DESC_LOCAL = 16             # received: we sent it ourselves
    DESC_SEGMENTS = 4           # transmit: the device makes several segments of the packet: see below

cdef enum LinkOffloads:
    LINK_TX_CHECKSUM = 1        # DESC_CHECKSUM is honoured
    LINK_RX_PARTIAL = 2         # veth, tun, virtio: a checksum equal to the pseudo-header sum is CHECKSUM_PARTIAL
    LINK_SEGMENTATION = 4       # DESC_SEGMENTS is honoured

cdef enum:
    SEGMENTS_MAX = 64           # parts of a packet with DESC_SEGMENTS

# Segmentation offload: a packet of up to 64 KiB with one set of headers, made of several parts. The device repeats
# the headers in front of every part, and sets lengths, sequence numbers and checksums right; PSH and FIN stay with the
# last segment. All parts hold the same number of octets of payload, the last one perhaps fewer.
#
#     part  | headers | payload |        | payload |        | payl |
#           0         ^ header_bytes     0                  0

cdef struct Desc:               # 16 bytes
    uint32_t frame
    uint16_t offset             # first octet of the packet (or of its part) from the start of the chunk
    uint16_t length             # octets in this chunk
    uint16_t flags
    uint16_t queue              # received on; the queue to send on
    uint16_t csum_start         # DESC_CHECKSUM: where summing starts, from the packet's first octet
    uint8_t csum_offset         # DESC_CHECKSUM: where the sum goes, from csum_start
    uint8_t header_bytes        # DESC_SEGMENTS: octets of all headers, in the first part

cdef struct LinkCounters:
    uint64_t rx_packets
    uint64_t rx_bytes
    uint64_t tx_packets
    uint64_t tx_bytes
    uint64_t tx_kicks           # system calls made to send
    uint64_t tx_retries         # of them, refused for now and tried again
    uint64_t tx_segmented       # packets that the device made several segments of
    uint64_t tx_failed          # packets dropped: the device did not take them, nor would it later
    uint64_t tx_refused         # descriptors left with the caller: the ring was full
    uint64_t tx_invalid         # packets dropped: a descriptor outside its chunk, or with too little room in front
    uint64_t rx_no_frame        # fill requests unmet: the pool was empty
    uint64_t rx_too_long        # packets dropped: more chunks than a batch holds
    uint64_t faults             # packets that a fault link dropped, changed, held back or doubled

cdef struct Link:
    void *self                  # the implementation's state
    FramePool *pool
    LinkCounters *counters
    uint32_t (*receive)(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil
    uint32_t (*transmit)(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil
    void (*wake)(Link *link) noexcept nogil                 # make the device look at its rings now
    uint64_t (*deadline)(Link *link) noexcept nogil         # when the link itself next has something to do, or NEVER
    uint32_t (*waiting)(const Link *link) noexcept nogil    # how full the fullest receive ring is, of 256; NULL: not known
    uint32_t mtu                # octets of an IP packet
    uint32_t offloads
    uint32_t queues
    int wait_fd                 # readable when packets wait; -1 where there is nothing to sleep on


cdef class LinkBase:
    """What every link is to Python: owner of a `Link` and of the frames that it uses."""
    cdef Link link
    cdef LinkCounters counters      # until they are placed elsewhere: use link.counters
    cdef object counters_owner
    cdef readonly Frames frames

    # Count at another place from now on, which `owner` keeps there: where others can look at it. Between two turns.
    # A link that has the address in a second place moves it there, too.
    cdef int place_counters(self, LinkCounters *at, object owner) except -1
