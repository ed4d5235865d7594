"""Drive any link from Python tests: packets as bytes, one call of the link's own functions a batch."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.link.frames cimport (
    NO_FRAME, TX_HEADROOM, FramePool, frame_chunk, frame_take, frame_unref,
)
from underpass.link.link cimport DESC_CHECKSUM, DESC_CONTINUES, NEVER, Desc, Link, LinkBase

cdef enum:
    BATCH = 1024                    # descriptors of one call
    TRANSMIT_PACKETS = 64           # packets of one call: up to 16 chunks each


cdef class LinkProbe:
    """The packet path's view of a link, in Python objects.

    Frames come from the link's own pool and go back to it, so a test can hold `link.frames.free` to account.
    """
    cdef readonly LinkBase link
    cdef readonly list queues       # receive queue of each packet of the last `receive`
    cdef Desc[BATCH] descs

    def __init__(self, LinkBase link not None):
        self.link = link
        self.queues = []

    @property
    def offloads(self):
        """Bits of LinkOffloads: 1 transmit checksum, 2 partial receive checksum."""
        return self.link.link.offloads

    @property
    def waiting(self):
        """How full the fullest receive ring is, of 256; None: the link does not know."""
        return self.link.link.waiting(&self.link.link) if self.link.link.waiting != NULL else None

    def receive(self, uint64_t now_ns=0, uint32_t room=64):
        """Packets of one batch of at most `room` descriptors (1 to 1024), parts joined; frames go back."""
        cdef Link *link = &self.link.link
        cdef FramePool *pool = link.pool
        cdef Desc *desc
        cdef uint32_t i, count
        if not 1 <= room <= BATCH:
            raise ValueError(f"room is 1 to {BATCH} descriptors, not {room}")
        count = link.receive(link, self.descs, room, now_ns)
        packets = []
        part = b""
        self.queues = []
        for i in range(count):
            desc = &self.descs[i]
            part += (<const char *>frame_chunk(pool, desc.frame) + desc.offset)[:desc.length]
            frame_unref(pool, desc.frame)
            if not desc.flags & DESC_CONTINUES:
                packets.append(part)
                self.queues.append(desc.queue)
                part = b""
        if part:
            raise AssertionError("the link broke off within a packet: the last descriptor has DESC_CONTINUES")
        return packets

    def transmit(self, packets, uint64_t now_ns=0, uint16_t queue=0, checksum=None):
        """Send packets on `queue`; returns how many were taken: it stops where one is refused.

        `checksum` is (csum_start, csum_offset) where the device shall fill it in. A packet longer than
        a chunk without its headroom is sent in parts.
        """
        packets = list(packets)
        sent = 0
        while sent < len(packets):
            offered = packets[sent:sent + TRANSMIT_PACKETS]
            taken = self._transmit(offered, now_ns, queue, checksum)
            sent += taken
            if taken < len(offered):
                break
        return sent

    cdef uint32_t _transmit(self, list packets, uint64_t now_ns, uint16_t queue, checksum) except? 0xFFFFFFFF:
        """One call of the link's transmit: packets that it took."""
        cdef Link *link = &self.link.link
        cdef uint32_t count = 0
        cdef uint32_t whole = 0
        cdef uint32_t taken, parts, i
        for packet in packets:
            parts = self._lay_out(packet, count, queue, checksum)
            if parts == 0:
                break
            count += parts
        taken = link.transmit(link, self.descs, count, now_ns)
        for i in range(taken):
            whole += not self.descs[i].flags & DESC_CONTINUES
        for i in range(taken, count):
            frame_unref(link.pool, self.descs[i].frame)
        return whole

    cdef uint32_t _lay_out(self, bytes packet, uint32_t at, uint16_t queue, checksum) except? 0xFFFFFFFF:
        """Write one packet into frames and descriptors from `at` on: how many, 0 where the pool is empty."""
        cdef FramePool *pool = self.link.link.pool
        cdef uint32_t room = pool.state.chunk_bytes - TX_HEADROOM
        cdef uint32_t parts = max(1, (len(packet) + room - 1) // room)
        cdef uint32_t i, frame
        cdef Desc *desc
        if at + parts > BATCH:
            raise ValueError(f"a packet of {len(packet)} bytes is more than this probe sends")
        for i in range(parts):
            frame = frame_take(pool)
            if frame == NO_FRAME:
                for undo in range(i):
                    frame_unref(pool, self.descs[at + <uint32_t>undo].frame)
                return 0
            part = packet[i * room:(i + 1) * room]
            desc = &self.descs[at + i]
            desc.frame, desc.queue = frame, queue
            desc.offset, desc.length = TX_HEADROOM, len(part)
            desc.flags = DESC_CONTINUES if i + 1 < parts else 0
            memcpy(frame_chunk(pool, frame) + TX_HEADROOM, <const char *>part, len(part))
        if checksum is not None:
            self.descs[at].flags |= DESC_CHECKSUM
            self.descs[at].csum_start, self.descs[at].csum_offset = checksum
        return parts

    def wake(self):
        """Make the device look at its rings now."""
        self.link.link.wake(&self.link.link)

    def deadline(self):
        """When the link itself next has something to do, in the caller's nanoseconds, or None."""
        cdef uint64_t when = self.link.link.deadline(&self.link.link)
        return None if when == <uint64_t>NEVER else when
