"""Writing pcapng: packets from the packet path, everything else in Python."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import struct

cdef enum:
    ENHANCED_PACKET = 6
    EPB_COMMENT = 1             # opt_comment
    EPB_FLAGS = 2

cdef struct PacketHead:
    uint32_t type
    uint32_t bytes
    uint32_t interface
    uint32_t time_high
    uint32_t time_low
    uint32_t captured
    uint32_t original

cdef struct Option:
    uint16_t code
    uint16_t bytes


cdef inline uint32_t padding(uint32_t octets) noexcept nogil:
    return (4 - octets % 4) % 4


cdef void pcapng_begin(uint8_t *block, uint32_t interface, uint64_t time_ns, uint32_t captured,
                       uint32_t original) noexcept nogil:
    cdef PacketHead head = PacketHead(ENHANCED_PACKET, 0, interface, <uint32_t>(time_ns >> 32), <uint32_t>time_ns,
                                      captured, original)
    memcpy(block, &head, sizeof(PacketHead))


cdef uint8_t *put_option(uint8_t *at, uint16_t code, const void *value, uint32_t octets) noexcept nogil:
    cdef Option option = Option(code, <uint16_t>octets)
    memcpy(at, &option, sizeof(Option))
    at += sizeof(Option)
    memcpy(at, value, octets)
    memset(at + octets, 0, padding(octets))
    return at + octets + padding(octets)


cdef uint32_t pcapng_end(uint8_t *block, uint32_t captured, uint32_t direction, const char *comment,
                         uint32_t comment_bytes) noexcept nogil:
    cdef uint8_t *at = block + PCAPNG_PACKET_AT + captured
    cdef uint32_t octets
    memset(at, 0, padding(captured))
    at = put_option(at + padding(captured), EPB_FLAGS, &direction, 4)
    if comment_bytes:
        at = put_option(at, EPB_COMMENT, comment, comment_bytes)
    memset(at, 0, 4)            # opt_endofopt
    octets = <uint32_t>(at + 8 - block)
    memcpy(at + 4, &octets, 4)
    memcpy(block + 4, &octets, 4)
    return octets


# ---- what stands around the packets

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
INTERFACE_STATISTICS = 5
BYTE_ORDER_MAGIC = 0x1A2B3C4D
UNKNOWN_LENGTH = -1
LINKTYPE_ETHERNET = 1
SHB_USERAPPL = 4
IF_NAME, IF_TSRESOL, IF_FILTER = 2, 9, 11
INBOUND = 1
ISB_IFRECV, ISB_IFDROP, ISB_FILTERACCEPT = 4, 5, 6


def option(code, value):
    """One option, padded."""
    return struct.pack("=HH", code, len(value)) + value + bytes(padding(<uint32_t>len(value)))


def block(kind, body, *options):
    """One block with its options."""
    body += b"".join(options) + (bytes(4) if options else b"")
    return struct.pack("=II", kind, len(body) + 12) + body + struct.pack("=I", len(body) + 12)


def section_header():
    """The block that a file begins with."""
    return block(SECTION_HEADER, struct.pack("=IHHq", BYTE_ORDER_MAGIC, 1, 0, UNKNOWN_LENGTH),
                 option(SHB_USERAPPL, b"underpass"))


def interface_description(str name="", uint32_t snaplen=0, str filter=""):
    """An Ethernet interface whose times are in nanoseconds; snaplen 0: no limit. The first one has number 0."""
    options = [option(IF_TSRESOL, b"\x09")]
    if name:
        options.insert(0, option(IF_NAME, name.encode()))
    if filter:
        options.append(option(IF_FILTER, b"\0" + filter.encode()))
    return block(INTERFACE_DESCRIPTION, struct.pack("=HHI", LINKTYPE_ETHERNET, 0, snaplen), *options)


def received_packet(uint32_t interface, uint64_t time_ns, bytes octets not None, uint32_t original, str comment=""):
    """A packet that came in, as far as it was kept, with its whole length."""
    cdef uint32_t kept = <uint32_t>len(octets)
    head = struct.pack("=IIIII", interface, time_ns >> 32, time_ns & 0xFFFFFFFF, kept, original)
    options = [option(EPB_COMMENT, comment.encode())] if comment else []
    return block(ENHANCED_PACKET, head + octets + bytes(padding(kept)), option(EPB_FLAGS, struct.pack("=I", INBOUND)), *options)


def interface_statistics(uint32_t interface, uint64_t time_ns, uint64_t received, uint64_t accepted, uint64_t dropped):
    """The counts at the end: packets that passed, those that the filter took, those lost for want of room."""
    return block(INTERFACE_STATISTICS, struct.pack("=III", interface, time_ns >> 32, time_ns & 0xFFFFFFFF),
                 option(ISB_IFRECV, struct.pack("=Q", received)), option(ISB_IFDROP, struct.pack("=Q", dropped)),
                 option(ISB_FILTERACCEPT, struct.pack("=Q", accepted)))
