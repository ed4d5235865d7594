"""Packet I/O by DPDK: the same engine over a port of DPDK's, which is polled without a pause.

A baseline to measure against, on what DPDK can drive without hardware of its own: its drivers net_af_xdp, net_af_packet, net_tap
and net_ring. None of them goes round the kernel here: net_af_xdp is an AF_XDP socket that DPDK polls.

Each packet is copied once between an mbuf and a frame, either way. For sending, a frame could be attached to an mbuf as
external buffer instead; but net_af_xdp copies what does not lie in its own mbufs, net_af_packet and net_tap copy everything,
so nothing would be saved. What is received would be kept from the driver for as long as the application lets it lie.
"""
cimport cython
from libc.errno cimport EBUSY, EIO
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import contextlib
import os
from importlib.resources import files

from underpass.link.frames cimport NO_FRAME, FramePool, Frames, frame_chunk, frame_take
from underpass.link.libdpdk cimport *
from underpass.link.link cimport LINK_RX_PARTIAL, Desc, Link, LinkBase
from underpass.link.packet cimport (
    LINK_HEADER, RX_HEADROOM, packet_bytes, packet_gather, packet_parts, packet_release,
)
from underpass.link.xsk_socket cimport Xsk, xsk_is_zero_copy, xsk_statistics
from underpass.link.xsk_uapi cimport AF_XDP, SOL_SOCKET, getsockopt, socklen_t

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SO_DOMAIN

cdef extern from "<bpf/libbpf.h>" nogil:
    int bpf_xdp_detach(int ifindex, uint32_t flags, const void *options)

cdef enum:
    BURST = 32                  # packets in one call to a driver; 64 is what a turn of the loop takes
    ENTRIES = 2048              # of a queue's ring; those of net_af_xdp have 2048 whatever is asked for
    MBUFS = 8191                # of a queue: its rings, and one less than a power of two, which fits a mempool best
    MBUF_CACHE = 250
    MBUF_ROOM = 2176            # RTE_MBUF_DEFAULT_BUF_SIZE: 2048 octets behind the headroom
    XDP_HEADROOM = 256          # of it, what AF_XDP keeps in front of a packet
    MEMORY_MB = 256             # for the mbufs of some ten queues
    QUEUES = 16

LABELS = {"net_af_xdp": "DPDK over AF_XDP", "net_af_packet": "DPDK over AF_PACKET", "net_tap": "DPDK over a TAP device",
          "net_ring": "DPDK over a ring in memory"}

cdef bint eal_runs = False
cdef set devices = set()        # names of those that there are
cdef uint32_t ports_made = 0

cdef struct DpdkPath:
    uint16_t port
    uint16_t queues
    uint16_t next_queue         # whose turn it is to be asked first
    uint32_t room               # octets that an mbuf takes
    rte_mempool *pools[QUEUES]  # of each queue; net_af_xdp copies what is sent from another one


# ------------------------------------------------------------------------------------------ the packet path

cdef uint32_t dpdk_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef DpdkPath *path = <DpdkPath *>link.self
    cdef uint32_t got = 0
    cdef uint16_t i, queue
    for i in range(path.queues):
        queue = (path.next_queue + i) % path.queues
        while got < room:
            if not take_burst(link, path.port, queue, into, room, &got):
                break
    if path.queues:
        path.next_queue = (path.next_queue + 1) % path.queues
    return got


cdef inline bint take_burst(Link *link, uint16_t port, uint16_t queue, Desc *into, uint32_t room,
                            uint32_t *got) noexcept nogil:
    """One burst of a queue into frames; whether there may be more."""
    cdef rte_mbuf *mbufs[BURST]
    cdef uint16_t wanted = <uint16_t>min(room - got[0], <uint32_t>BURST)
    cdef uint16_t count = rte_eth_rx_burst(port, queue, mbufs, wanted)
    cdef uint16_t i
    for i in range(count):
        got[0] += take_in(link, mbufs[i], queue, into + got[0])
    if count:
        rte_pktmbuf_free_bulk(mbufs, count)
    return count == wanted


cdef inline uint32_t take_in(Link *link, const rte_mbuf *mbuf, uint16_t queue, Desc *desc) noexcept nogil:
    """Copy a packet into a frame; returns 1, or 0 where it is lost."""
    cdef FramePool *pool = link.pool
    cdef uint32_t frame
    if mbuf.nb_segs != 1 or mbuf.data_len > pool.state.chunk_bytes - RX_HEADROOM:
        link.counters.rx_too_long += 1
        return 0
    frame = frame_take(pool)
    if frame == NO_FRAME:
        link.counters.rx_no_frame += 1
        return 0
    memcpy(frame_chunk(pool, frame) + RX_HEADROOM, <uint8_t *>mbuf.buf_addr + mbuf.data_off, mbuf.data_len)
    memset(desc, 0, sizeof(Desc))
    desc.frame = frame
    desc.offset = RX_HEADROOM
    desc.length = mbuf.data_len
    desc.queue = queue
    link.counters.rx_packets += 1
    link.counters.rx_bytes += mbuf.data_len
    return 1


cdef uint32_t dpdk_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef uint32_t taken = 0
    cdef uint32_t before
    while taken < count and (<DpdkPath *>link.self).queues:
        before = taken
        taken += send_burst(link, packets + taken, count - taken)
        if taken == before:
            break
    link.counters.tx_refused += count - taken
    return taken


cdef uint32_t send_burst(Link *link, const Desc *packets, uint32_t count) noexcept nogil:
    """Send up to BURST packets for one queue; returns the descriptors that were used up."""
    cdef DpdkPath *path = <DpdkPath *>link.self
    cdef rte_mbuf *mbufs[BURST]
    cdef uint32_t ends[BURST]           # descriptors up to and with each packet
    cdef uint32_t end = 0
    cdef uint32_t parts
    cdef uint16_t made = 0
    cdef uint16_t queue = packets.queue if packets.queue < path.queues else 0
    while made < BURST and end < count and packets[end].queue == packets.queue:
        parts = packet_parts(packets + end, count - end)
        if parts == 0:
            break
        if packet_bytes(packets + end, parts) > path.room:
            if made == 0:
                return drop_invalid(link, packets, parts)
            break
        mbufs[made] = copied(link.pool, path.pools[queue], packets + end, parts)
        if mbufs[made] == NULL:
            break
        end += parts
        ends[made] = end
        made += 1
    return hand_over(link, packets, queue, mbufs, ends, made)


cdef inline uint32_t drop_invalid(Link *link, const Desc *packet, uint32_t parts) noexcept nogil:
    packet_release(link.pool, packet, parts)
    link.counters.tx_invalid += 1
    return parts


cdef inline rte_mbuf *copied(FramePool *pool, rte_mempool *into, const Desc *packet, uint32_t parts) noexcept nogil:
    cdef rte_mbuf *mbuf = rte_pktmbuf_alloc(into)
    if mbuf != NULL:
        mbuf.data_len = <uint16_t>packet_bytes(packet, parts)
        mbuf.pkt_len = mbuf.data_len
        packet_gather(pool, packet, parts, <uint8_t *>mbuf.buf_addr + mbuf.data_off)
    return mbuf


cdef inline uint32_t hand_over(Link *link, const Desc *packets, uint16_t queue, rte_mbuf **mbufs, const uint32_t *ends,
                               uint16_t made) noexcept nogil:
    """To the driver, which may leave some: those stay the caller's."""
    cdef DpdkPath *path = <DpdkPath *>link.self
    cdef uint16_t sent, i
    if made == 0:
        return 0
    sent = rte_eth_tx_burst(path.port, queue, mbufs, made)
    if sent < made:
        rte_pktmbuf_free_bulk(mbufs + sent, made - sent)
    if sent == 0:
        return 0
    for i in range(ends[sent - 1]):
        link.counters.tx_bytes += packets[i].length
    packet_release(link.pool, packets, ends[sent - 1])
    link.counters.tx_packets += sent
    link.counters.tx_kicks += 1
    return ends[sent - 1]


cdef void dpdk_wake(Link *link) noexcept nogil:
    """The drivers look at their rings in every call."""


cdef uint64_t dpdk_deadline(Link *link) noexcept nogil:
    """At once, always: nothing wakes a loop over DPDK, so it never sleeps."""
    return 0


# ------------------------------------------------------------------------------------------ EAL and ports

cdef list eal_arguments():
    """One lcore, where this thread may run already; ordinary memory; no other process, no PCI, no telemetry, nothing in the log."""
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return [b"underpass", b"--no-huge", b"--no-shconf", b"--no-pci", b"--no-telemetry", b"--iova-mode=va", b"-m", b"%d" % MEMORY_MB,
            b"--log-level=*:critical", f"--lcores=0@({cores})".encode()]


cdef int start_eal() except -1:
    """Once in a process: EAL cannot be started a second time."""
    global eal_runs
    cdef char *argv[16]
    cdef int i
    if eal_runs:
        return 0
    arguments = eal_arguments()
    for i, word in enumerate(arguments):
        argv[i] = word
    if rte_eal_init(len(arguments), argv) < 0:
        raise OSError(rte_errno or EIO, f"DPDK's EAL does not start: {rte_strerror(rte_errno).decode()}")
    eal_runs = True
    return 0


cdef set xdp_sockets():
    """The descriptors of this process that are AF_XDP sockets; DPDK tells nobody which ones are its own."""
    cdef int domain
    cdef socklen_t room
    found = set()
    for name in os.listdir("/proc/self/fd"):
        room = sizeof(domain)
        if getsockopt(int(name), SOL_SOCKET, SO_DOMAIN, &domain, &room) == 0 and domain == AF_XDP:
            found.add(int(name))
    return found


@cython.no_gc_clear
cdef class DpdkLink(LinkBase):
    """One port of DPDK's: a virtual device, named and configured as for its --vdev: "net_tap0,iface=tap0".

    `mtu` and `queues` are the port's. With `partial`, a received checksum may be only the pseudo-header's sum. EAL is started
    with the first link of a process, with one lcore, without hugepages, and stays. `label` says what packets pass through, and
    `fds` are the AF_XDP sockets where there are some. Raises OSError; ValueError for a device that DPDK has not.
    """
    cdef DpdkPath path
    cdef object _undo
    cdef bytes device
    cdef readonly str label
    cdef readonly list fds
    cdef readonly tuple queues
    cdef readonly object netdev
    cdef readonly str mode
    cdef readonly bint zero_copy, need_wakeup, multi_buffer, tx_checksum, segmentation, busy_poll
    cdef readonly dict why

    def __init__(self, Frames frames not None, str vdev, *, uint32_t mtu=1500, queues=(0,), bint partial=False, netdev=None):
        cdef uint32_t longest = min(frames.pool.state.chunk_bytes - RX_HEADROOM,
                                    <uint32_t>(MBUF_ROOM - RTE_PKTMBUF_HEADROOM - XDP_HEADROOM))
        name, _, arguments = vdev.partition(",")
        driver = name.rstrip("0123456789")
        if driver not in LABELS:
            raise ValueError(f"DPDK's devices here are {', '.join(LABELS)}, each with a number behind it, not {name!r}")
        if mtu + LINK_HEADER > longest:
            raise ValueError(f"an MTU of {mtu} does not fit DPDK's buffers: lower it to {longest - LINK_HEADER}")
        if not 0 < len(queues) <= QUEUES:
            raise ValueError(f"a port has 1 to {QUEUES} queues, not {len(queues)}")
        self.frames, self.netdev, self.queues = frames, netdev, tuple(queues)
        self.label, self.mode, self.busy_poll = LABELS[driver], "native", True
        self.need_wakeup = driver == "net_af_xdp"
        self.fds = []
        self.why = {"tx_checksum": f"DPDK's {driver} has none", "segmentation": f"DPDK's {driver} has none"}
        self._undo = contextlib.ExitStack()
        try:
            start_eal()
            self._open(name.encode(), arguments.encode())
            self._start(mtu, partial)
        except BaseException:
            self.close()
            raise

    cdef _open(self, bytes name, bytes arguments):
        cdef rte_eth_conf conf
        cdef uint16_t queue
        cdef int failed
        if name in devices:         # EAL would say nothing, and we would share it
            raise OSError(EBUSY, f"this process has a {name.decode()} already")
        failed = rte_eal_hotplug_add(b"vdev", name, arguments)
        if failed:
            raise OSError(-failed, f"DPDK does not make {name.decode()},{arguments.decode()}: {os.strerror(-failed)}")
        devices.add(name)
        self._undo.callback(devices.discard, name)
        self._undo.callback(rte_remove, name)
        self.device = name
        memset(&conf, 0, sizeof(conf))
        self._must(rte_eth_dev_get_port_by_name(name, &self.path.port), "find its port")
        self._undo.callback(rte_close, self.path.port)
        self._must(rte_eth_dev_configure(self.path.port, <uint16_t>len(self.queues), <uint16_t>len(self.queues), &conf),
                   f"have {len(self.queues)} queues")
        for queue in range(<uint16_t>len(self.queues)):
            self._open_queue(queue)
        self._must(rte_eth_dev_start(self.path.port), "start")
        self._undo.callback(rte_stop, self.path.port)

    cdef int _open_queue(self, uint16_t queue) except -1:
        """With mbufs of its own, since net_af_xdp makes their memory the UMEM."""
        cdef bytes name = b"%b-%d" % (self.device, queue)
        cdef rte_mempool *pool = rte_pktmbuf_pool_create(name, MBUFS, MBUF_CACHE, 0, MBUF_ROOM, -1)
        if pool == NULL:
            raise OSError(rte_errno, f"no memory for DPDK's mbufs: {rte_strerror(rte_errno).decode()}")
        self.path.pools[queue] = pool
        before = xdp_sockets()
        self._must(rte_eth_tx_queue_setup(self.path.port, queue, ENTRIES, 0, NULL), f"send on queue {queue}")
        self._must(rte_eth_rx_queue_setup(self.path.port, queue, ENTRIES, 0, NULL, pool), f"receive on queue {queue}")
        self.fds += sorted(xdp_sockets() - before)
        return 0

    cdef int _must(self, int failed, what) except -1:
        if failed < 0:
            raise OSError(-failed, f"DPDK's {self.device.decode()} cannot {what}: {os.strerror(-failed)}")
        return 0

    cdef _start(self, uint32_t mtu, bint partial):
        self.path.queues = self.link.queues = <uint16_t>len(self.queues)
        self.path.room = MBUF_ROOM - RTE_PKTMBUF_HEADROOM
        self.link.self = &self.path
        self.link.pool = &self.frames.pool
        self.link.receive, self.link.transmit = dpdk_receive, dpdk_transmit
        self.link.wake, self.link.deadline = dpdk_wake, dpdk_deadline
        self.link.mtu = mtu
        self.link.offloads = LINK_RX_PARTIAL if partial else 0
        self.link.wait_fd = -1
        self._ask_for_copies()

    cdef _ask_for_copies(self):
        """A driver of a network card may have given zero-copy mode to the sockets."""
        cdef Xsk xsk
        if self.fds:
            xsk.fd = self.fds[0]
            self.zero_copy = xsk_is_zero_copy(&xsk)
            self.label += ", zero-copy" if self.zero_copy else " copy mode"
        if not self.zero_copy:
            self.why["zero_copy"] = f"the driver {self.netdev.driver} does not offer it" if self.netdev else "it copies"

    def register(self, program):
        """Have the XDP program give the queues' packets to DPDK's sockets."""
        if len(self.fds) != len(self.queues):
            raise ValueError(f"{self.label}: there are no AF_XDP sockets to give packets to")
        for queue, fd in zip(self.queues, self.fds, strict=True):
            program.register_xsk(queue, fd)

    def kernel_stats(self):
        """What the kernel counted for the AF_XDP sockets, where there are some."""
        return xsk_statistics(self.fds)

    def close(self):
        """Stop the port and remove the device. May be called twice. From then on nothing is received, and transmit takes nothing."""
        cdef uint32_t queue
        self.path.queues = 0
        self.fds = []
        self._undo.close()
        for queue in range(QUEUES):
            rte_mempool_free(self.path.pools[queue])
            self.path.pools[queue] = NULL


def rte_remove(bytes name):
    rte_eal_hotplug_remove(b"vdev", name)


def rte_close(uint16_t port):
    rte_eth_dev_close(port)


def rte_stop(uint16_t port):
    rte_eth_dev_stop(port)


def over_af_xdp(Frames frames not None, netdev, queues):
    """A link over these queues of an interface by net_af_xdp, which takes no packets yet: `register` it in an XDP program.

    net_af_xdp insists on attaching a program: it is given one that passes everything, which is taken off again, so that
    the one that steers Underpass's packets can take its place: whatever is not claimed stays with Linux.
    """
    global ports_made
    queues = tuple(queues)
    first = min(queues)
    if queues != tuple(range(first, first + len(queues))):
        raise ValueError(f"DPDK takes neighbouring queues, not {', '.join(map(str, queues))}")
    image = files("underpass.xdp").joinpath("pass.bpf.o").read_bytes()
    with open(os.memfd_create("underpass-pass.bpf.o"), "wb") as program:
        program.write(image)
        program.flush()
        vdev = (f"net_af_xdp{ports_made},iface={netdev.name},start_queue={first},queue_count={len(queues)},"
                f"xdp_prog=/proc/self/fd/{program.fileno()}")
        ports_made += 1
        try:
            link = DpdkLink(frames, vdev, mtu=netdev.mtu, queues=queues, partial=netdev.partial_checksums, netdev=netdev)
        except OSError as error:
            if len(queues) == 1:
                raise
            raise OSError(error.errno, f"{error.strerror}; it knows combined queues only, and {netdev.name} ({netdev.driver})"
                                       f" may have none: use an interface of one queue") from None
    bpf_xdp_detach(netdev.index, 0, NULL)
    return link
