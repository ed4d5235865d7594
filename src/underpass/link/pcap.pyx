"""A link that writes what passes to a capture file, in pcapng (draft-ietf-opsawg-pcapng).

    Section Header | Interface Description (Ethernet, ns) | Enhanced Packet, Enhanced Packet ...

Capturing never stands in traffic's way: what cannot be written is counted and left out, whole blocks at a
time, so that the file stays readable.
"""
import os

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.types cimport off_t
from posix.unistd cimport SEEK_SET, ftruncate, lseek, write

from underpass.link.frames cimport FramePool, frame_ref
from underpass.link.link cimport LINK_SEGMENTATION, Desc, Link, LinkBase
from underpass.link.packet cimport (
    packet_bytes, packet_checksum, packet_gather, packet_parts, packet_release, packet_wants_checksum,
)
from underpass.link.pcapng cimport (
    PCAPNG_INBOUND, PCAPNG_OUTBOUND, PCAPNG_OVERHEAD, PCAPNG_PACKET_AT, pcapng_begin, pcapng_end,
)

from underpass.link.pcapng import interface_description, section_header


@cython.no_gc_clear
cdef class PcapLink(LinkBase):
    """A link over `inner` that writes every packet, both ways, to a pcapng file at `path`.

    Timestamps are `now_ns + epoch_ns`, so `epoch_ns` is the wall clock's time at 0 of the caller's clock. The
    file is complete after `close` or `flush`. Raises OSError where the file cannot be created.
    """

    def __cinit__(self, *args, **kwargs):
        memset(&self.capture, 0, sizeof(Capture))
        self.capture.fd = -1

    def __init__(self, LinkBase inner not None, path, uint64_t epoch_ns=0):
        self.inner = inner
        self.frames = inner.frames
        self.capture.below = &inner.link
        self.capture.epoch_ns = epoch_ns
        self.capture.buffer = <uint8_t *>malloc(CAPTURE_BYTES)
        if self.capture.buffer == NULL:
            raise MemoryError("a capture's buffer")
        self.capture.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self.header = section_header() + interface_description()
        self.capture.header = <const uint8_t *><const char *>self.header
        self.capture.header_bytes = <uint32_t>len(self.header)
        write_file_header(&self.capture)
        self.link = inner.link
        self.link.offloads &= ~<uint32_t>LINK_SEGMENTATION      # each segment passes here by itself
        self.link.self = &self.capture
        self.link.counters = &self.counters
        self.link.receive = pcap_receive
        self.link.transmit = pcap_transmit
        self.link.wake = pcap_wake
        self.link.deadline = pcap_deadline
        self.link.waiting = NULL

    def flush(self):
        """Write what was gathered."""
        capture_flush(&self.capture)

    @property
    def lost(self):
        """Packets that passed but could not be written: the disk is full or failed."""
        return self.capture.lost

    def close(self):
        """Complete the file and close the inner link."""
        if self.capture.fd >= 0:
            capture_flush(&self.capture)
            os.close(self.capture.fd)
            self.capture.fd = -1
            self.inner.close()

    def __dealloc__(self):
        if self.capture.fd >= 0:
            capture_flush(&self.capture)
            os.close(self.capture.fd)
        free(self.capture.buffer)


# ---- the file

cdef void write_file_header(Capture *it) noexcept nogil:
    memcpy(it.buffer, it.header, it.header_bytes)
    it.filled = it.header_bytes


cdef void record(Capture *it, FramePool *pool, const Desc *packet, uint32_t parts, uint32_t direction,
                 uint64_t now_ns) noexcept nogil:
    """Append one Enhanced Packet Block; the checksum that a device would fill in is filled in."""
    cdef uint32_t octets = packet_bytes(packet, parts)
    cdef uint8_t *block
    cdef uint16_t checksum
    if it.fd < 0 or it.torn or octets + PCAPNG_OVERHEAD > CAPTURE_BYTES // 2:
        it.lost += 1
        return
    if octets + PCAPNG_OVERHEAD > CAPTURE_BYTES - it.filled:
        capture_flush(it)
    block = it.buffer + it.filled
    pcapng_begin(block, 0, now_ns + it.epoch_ns, octets, octets)
    packet_gather(pool, packet, parts, block + PCAPNG_PACKET_AT)
    if packet_wants_checksum(packet, octets):
        checksum = packet_checksum(pool, packet, parts)
        memcpy(block + PCAPNG_PACKET_AT + packet.csum_start + packet.csum_offset, &checksum, 2)
    it.filled += pcapng_end(block, octets, direction, NULL, 0)
    it.packets += 1


cdef void capture_flush(Capture *it) noexcept nogil:
    """Write the buffer, or count its packets as lost and cut the file back to the last whole block."""
    cdef uint32_t done = 0
    cdef ssize_t wrote
    while done < it.filled:
        wrote = write(it.fd, it.buffer + done, it.filled - done)
        if wrote <= 0:
            break
        done += <uint32_t>wrote
    if done == it.filled:
        it.written += done
    else:
        it.lost += it.packets
        it.torn = done > 0 and (ftruncate(it.fd, <off_t>it.written) < 0
                                or lseek(it.fd, <off_t>it.written, SEEK_SET) < 0)
    it.filled = it.packets = 0
    if it.written == 0:
        write_file_header(it)


# ---- the link

cdef uint32_t pcap_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef Capture *it = <Capture *>link.self
    cdef uint32_t got = it.below.receive(it.below, into, room, now_ns)
    link.counters.rx_packets += record_batch(it, link, into, got, PCAPNG_INBOUND, now_ns, &link.counters.rx_bytes)
    return got


cdef uint32_t pcap_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef Capture *it = <Capture *>link.self
    cdef uint32_t i, taken
    # The device may be done with a frame before transmit returns: keep all until they are recorded.
    for i in range(count):
        frame_ref(link.pool, packets[i].frame)
    taken = it.below.transmit(it.below, packets, count, now_ns)
    link.counters.tx_packets += record_batch(it, link, packets, taken, PCAPNG_OUTBOUND, now_ns,
                                             &link.counters.tx_bytes)
    link.counters.tx_refused += count - taken
    packet_release(link.pool, packets, count)
    return taken


cdef uint32_t record_batch(Capture *it, Link *link, const Desc *at, uint32_t count, uint32_t direction,
                           uint64_t now_ns, uint64_t *octets) noexcept nogil:
    """Record the packets of a batch; returns how many."""
    cdef uint32_t packets = 0
    cdef uint32_t parts
    while count:
        parts = packet_parts(at, count)
        record(it, link.pool, at, parts, direction, now_ns)
        octets[0] += packet_bytes(at, parts)
        packets += 1
        at += parts
        count -= parts
    return packets


cdef void pcap_wake(Link *link) noexcept nogil:
    cdef Capture *it = <Capture *>link.self
    it.below.wake(it.below)


cdef uint64_t pcap_deadline(Link *link) noexcept nogil:
    cdef Capture *it = <Capture *>link.self
    return it.below.deadline(it.below)
