"""A segment as it was parsed from the wire: what everything above `wire` and `ip` works on."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.wire.address cimport Address
from underpass.wire.seq cimport seq_t

cdef enum TcpFlags:
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80

cdef enum OptionSet:            # which options the segment carried
    OPTION_MSS = 1
    OPTION_WINDOW_SCALE = 2
    OPTION_SACK_PERMITTED = 4
    OPTION_TIMESTAMPS = 8
    OPTION_SACK = 16

cdef enum:
    NO_VLAN = 0xFFFF
    MAX_SACK_BLOCKS = 4

cdef struct SackBlock:
    seq_t start
    seq_t end                   # first octet not covered

cdef struct Segment:
    # where it lies
    const uint8_t *packet       # first octet of the Ethernet header
    uint32_t frame              # chunk that holds packet
    uint16_t offset             # of packet from the start of the chunk
    uint16_t head_bytes         # octets of the packet that lie in the first chunk
    uint32_t total_bytes        # octets of the packet in all chunks, Ethernet padding cut off
    # Ethernet
    uint16_t vlan               # tag control information of the outer tag, or NO_VLAN
    uint8_t ip_offset           # octets of Ethernet header and tags
    uint8_t queue
    # IP
    Address src
    Address dst
    uint8_t traffic_class       # DSCP and ECN
    uint8_t hop_limit
    uint16_t tcp_offset         # octets before the TCP header
    # TCP
    uint16_t src_port
    uint16_t dst_port
    seq_t seq
    seq_t ack
    uint16_t window             # as it stands in the header, not scaled
    uint8_t flags
    uint8_t options             # OptionSet
    uint16_t payload_offset     # octets before the payload; the payload may go on in later chunks
    uint16_t mss
    uint32_t payload_bytes
    uint32_t ts_val
    uint32_t ts_ecr
    uint8_t window_scale        # as sent; RFC 7323 2.3 caps it at 14 and so does the parser
    uint8_t sack_count
    uint8_t checksum_partial    # accepted because it equalled the pseudo-header sum
    SackBlock[4] sack


cdef inline uint32_t segment_length(const Segment *seg) noexcept nogil:
    """SEG.LEN (RFC 9293 3.4): payload octets, SYN and FIN counted."""
    return seg.payload_bytes + ((seg.flags & SYN) != 0) + ((seg.flags & FIN) != 0)
