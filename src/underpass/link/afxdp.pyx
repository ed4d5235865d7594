"""A network interface's queues by AF_XDP: one socket each, all over one frame pool as their UMEM."""
from libc.errno cimport EBUSY, EINVAL, EMFILE, ENETDOWN, EOPNOTSUPP
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import contextlib
import os
import select

from underpass.link.frames cimport QUEUES_MAX, Frames
from underpass.link.link cimport LINK_RX_PARTIAL, LINK_SEGMENTATION, LINK_TX_CHECKSUM, LinkBase, LinkCounters
from underpass.link.packet cimport LINK_HEADER, RX_HEADROOM
from underpass.link.packet_socket cimport packet_socket_open
from underpass.link.xsk_path cimport (
    XskPath, xsk_deadline, xsk_mend, xsk_receive, xsk_reclaim, xsk_refill, xsk_settle, xsk_transmit, xsk_waiting,
    xsk_wake,
)
from underpass.link.xsk_socket cimport (
    Xsk, xsk_adopt, xsk_bind, xsk_close, xsk_is_zero_copy, xsk_open, xsk_prefer_busy_poll, xsk_register_umem,
    xsk_statistics,
)
from underpass.link.xsk_uapi cimport XDP_COPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG, XDP_ZEROCOPY


FACTS = ("queues", "ring_size", "mode", "zero_copy", "need_wakeup", "multi_buffer", "tx_checksum", "segmentation",
         "busy_poll", "why")


def receive_room(uint32_t chunk_bytes, uint32_t unit=1):
    """Octets of a packet that a frame holds beside what AF_XDP keeps in front, where the device counts them in units."""
    return (chunk_bytes - RX_HEADROOM) // unit * unit


def chunk_bytes_for(uint32_t mtu, uint32_t unit=1):
    """The frame size for an MTU: 2048 where a packet fits, else 4096; `unit` is `NetdevFeatures.receive_unit`.

    A packet longer than 3840 octets (with its Ethernet header and two tags) then spans several frames.
    """
    return 2048 if mtu + LINK_HEADER <= receive_room(2048, unit) else 4096


cdef class AfXdpLink(LinkBase):
    """The `queues` of an interface, each with an AF_XDP socket; `frames` is the UMEM of all of them.

    `netdev` says what the interface can do (`linux.netdev_features`). With `program`, an `XdpProgram`, the
    sockets are registered in it; else `fds` gives them to whoever does. `zero_copy`: None takes it where the
    driver has it, True demands it, False leaves it. `checksum` has the kernel or device sum; it may
    leave that to the receiving side of a veth, unless `fill_checksum`. With `segmentation`, where the kernel copies
    what is sent anyway, up to 64 KiB of one connection pass it as one packet, by a packet socket. `ring_size` is a
    power of two.

    A link may be opened by one process and run by another: with `run` false it is only opened and bound, `facts()` and
    `fds` go to the other process, and there `adopted`, those facts, and `adopted_fds` make the link that runs, without
    any privilege. `register()` then steers packets to it. Where the facts say `resumed`, a third process goes on with
    the frames and the sockets as the second one left them; where they say `mend`, that one was killed in its work.

    What is used is told by `mode`, `zero_copy`, `need_wakeup`, `multi_buffer`, `tx_checksum`, `segmentation` and `busy_poll`;
    for each thing that is not the better one `why` has the reason. Raises OSError.
    """
    cdef XskPath path
    cdef Xsk *xsks
    cdef uint32_t xsk_count
    cdef bint resumed               # another process has run the link before
    cdef bint mend                  # and did not end in order
    cdef bint left                  # another process goes on with it: what the kernel holds is not ours to take back
    cdef object _program
    cdef object _undo               # ExitStack: what close() has to undo
    cdef object _every              # epoll over all sockets, or None: there is one
    cdef readonly object netdev
    cdef readonly tuple queues
    cdef readonly uint32_t ring_size
    cdef readonly str mode
    cdef readonly bint zero_copy, need_wakeup, multi_buffer, tx_checksum, segmentation, busy_poll
    cdef readonly dict why

    def __init__(self, Frames frames not None, netdev, queues=(0,), *, program=None, zero_copy=None,
                 bint checksum=True, bint fill_checksum=False, bint segmentation=True, bint busy_poll=False,
                 uint32_t ring_size=2048, bint run=True, dict adopted=None, adopted_fds=()):
        self.frames = frames
        self.netdev = netdev
        self.queues = tuple(queues)
        self.ring_size = ring_size
        self.why = {}
        self._program = program
        self._undo = contextlib.ExitStack()
        self.left = adopted is not None or not run
        self._check(ring_size)
        self._allocate()
        try:
            if adopted is not None:
                self._adopt(adopted, list(adopted_fds))
            else:
                self._open(zero_copy, checksum, fill_checksum, ring_size)
                self._explain(zero_copy, checksum)
                self._open_packet_socket(segmentation, fill_checksum)
                if busy_poll:
                    self._poll_busily()
            if run:
                self._start()
                self.register()
        except BaseException:
            self.close()
            raise

    cdef _check(self, uint32_t ring_size):
        if not self.queues or len(set(self.queues)) != len(self.queues):
            raise ValueError(f"queues are one or more different numbers, not {self.queues}")
        if ring_size < 64 or ring_size & (ring_size - 1):
            raise ValueError(f"a ring has a power of two of entries, at least 64, not {ring_size}")

    cdef _allocate(self):
        cdef uint32_t count = len(self.queues)
        cdef uint32_t i
        self.xsks = <Xsk *>calloc(count, sizeof(Xsk))
        if self.xsks == NULL:
            raise MemoryError("AF_XDP sockets")
        self.path.lent = self.frames.pool.lent
        self.xsk_count = count
        for i in range(count):
            self.xsks[i].fd = -1
        self.path.xsks = self.xsks
        self.path.pool = &self.frames.pool
        self.path.counters = &self.counters
        self.path.packet_socket = -1
        if count > QUEUES_MAX:
            raise ValueError(f"a link has at most {QUEUES_MAX} queues, not {count}")

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        LinkBase.place_counters(self, at, owner)
        self.path.counters = at
        return 0

    cdef _open(self, zero_copy, bint checksum, bint fill_checksum, uint32_t ring_size):
        """Open and bind every socket; the first one brings the UMEM and the flags, the others share them."""
        cdef uint32_t i
        flags = self._bind_flags(zero_copy)
        for i, queue in enumerate(self.queues):
            xsk_open(&self.xsks[i], queue, ring_size)
            if i == 0:
                self.path.metadata_bytes = xsk_register_umem(
                    &self.xsks[0], &self.frames.pool, checksum, fill_checksum)
            self._bind(i, queue, flags)
        self.need_wakeup = True
        self.multi_buffer = flags & XDP_USE_SG != 0
        self.zero_copy = xsk_is_zero_copy(&self.xsks[0])

    cdef int _bind(self, uint32_t place, queue, uint32_t flags) except -1:
        cdef int error = xsk_bind(&self.xsks[place], self.netdev.index, flags, self.xsks[0].fd if place else -1)
        if error:
            raise OSError(error, self._why_not_bound(error, queue, flags))
        return 0

    def _bind_flags(self, zero_copy):
        """Without XDP_COPY or XDP_ZEROCOPY the kernel takes zero-copy where the driver has it."""
        self.mode = getattr(self._program, "mode", "native")
        flags = XDP_USE_NEED_WAKEUP
        if zero_copy and self.netdev.copy_because:
            raise OSError(EOPNOTSUPP, self.netdev.copy_because)
        if zero_copy:
            flags |= XDP_ZEROCOPY
        elif zero_copy is False or self.mode == "generic" or self.netdev.copy_because:
            flags |= XDP_COPY
        if (self.netdev.mtu + LINK_HEADER > receive_room(self.frames.chunk_bytes, self.netdev.receive_unit)
                or self.netdev.hands_over_whole(self.mode)):
            flags |= XDP_USE_SG
        return flags

    def _why_not_bound(self, int error, queue, flags):
        name = self.netdev.name
        if error == EBUSY:
            return f"queue {queue} of {name} is in use by another AF_XDP socket"
        if error == ENETDOWN:
            return f"{name} is down: `ip link set {name} up`"
        if error == EINVAL and queue >= self.netdev.queues:
            return f"{name} has no queue {queue}: it has {self.netdev.queues}"
        if error == EINVAL and flags & XDP_USE_SG:
            return (f"an MTU of {self.netdev.mtu} needs AF_XDP multi-buffer (Linux 6.6):"
                    f" lower it to {receive_room(self.frames.chunk_bytes, self.netdev.receive_unit) - LINK_HEADER}")
        if error == EOPNOTSUPP and flags & XDP_ZEROCOPY and not self.netdev.zero_copy:
            return f"the driver of {name}, {self.netdev.driver}, has no zero-copy AF_XDP"
        if flags & XDP_ZEROCOPY and self.netdev.zero_copy_needs:
            return f"no zero-copy AF_XDP on {name}: {self.netdev.zero_copy_needs}"
        return f"cannot bind an AF_XDP socket to queue {queue} of {name}: {os.strerror(error)}"

    cdef _explain(self, zero_copy, bint checksum):
        """Fill in what is active, and why not the better."""
        if self.mode == "generic":
            self.why["native"] = self._program.why_not_better
        if not self.zero_copy:
            self.why["zero_copy"] = (
                "it was switched off" if zero_copy is False
                else "generic XDP copies" if self.mode == "generic"
                else f"the driver {self.netdev.driver} does not offer it" if self.netdev.zero_copy is False
                else self.netdev.copy_because or self.netdev.zero_copy_needs
                or "the kernel bound the socket in copy mode")
        if not self.multi_buffer:
            self.why["multi_buffer"] = f"packets of an MTU of {self.netdev.mtu} fit one frame"
        self.tx_checksum = self.path.metadata_bytes and (not self.zero_copy or self.netdev.zero_copy_checksum)
        if not self.tx_checksum:
            self.why["tx_checksum"] = (
                "it was switched off" if not checksum
                else "this kernel has no AF_XDP TX metadata (Linux 6.8)" if not self.path.metadata_bytes
                else f"the driver {self.netdev.driver} does not offer it in zero-copy mode")
        self.why["busy_poll"] = "it was not asked for"

    cdef _open_packet_socket(self, bint wanted, bint fill_checksum):
        """For packets that the kernel cuts into segments: AF_XDP has no way to ask for it."""
        if self.zero_copy:
            self.why["segmentation"] = "AF_XDP has none, and in zero-copy mode it is faster than the kernel's"
        elif not wanted:
            self.why["segmentation"] = "it was switched off"
        elif fill_checksum:
            self.why["segmentation"] = "it leaves checksums to the receiving side of a veth"
        else:
            self.path.packet_socket = packet_socket_open(self.netdev.index)
            self._undo.callback(os.close, self.path.packet_socket)
            self.segmentation = True

    cdef _poll_busily(self):
        """Have the kernel poll the device when we ask; the loop then does not sleep (`Stack.spin`)."""
        cdef uint32_t i
        cdef int error = 0
        if self.netdev.sender_delivers:
            self.busy_poll = True
            del self.why["busy_poll"]
            return
        for i in range(<uint32_t>len(self.queues)):
            error = error or xsk_prefer_busy_poll(&self.xsks[i])
        if error:
            self.why["busy_poll"] = f"SO_PREFER_BUSY_POLL: {os.strerror(error)}"
            return
        refused = self._undo.enter_context(self.netdev.napi_deferred())
        self.busy_poll = self.path.busy_poll = refused is None
        if refused is None:
            del self.why["busy_poll"]
        else:
            self.why["busy_poll"] = refused

    cdef _start(self):
        """Fill the rings, register the sockets, and fill in the `Link`."""
        self.path.checksum, self.path.multi_buffer = self.tx_checksum, self.multi_buffer
        self.path.zero_copy = self.zero_copy
        self._fill(len(self.queues) if self.resumed else 0)
        if self.mend:
            xsk_mend(&self.path)
            self.mend = False
        self.link.self = &self.path
        self.link.pool = &self.frames.pool
        self.link.receive, self.link.transmit = xsk_receive, xsk_transmit
        self.link.wake, self.link.deadline = xsk_wake, xsk_deadline
        self.link.waiting = xsk_waiting
        self.link.mtu = self.netdev.mtu
        self.link.offloads = (LINK_TX_CHECKSUM if self.tx_checksum else 0) | (
            LINK_RX_PARTIAL if self.netdev.partial_checksums else 0) | (
            LINK_SEGMENTATION if self.segmentation else 0)
        self.link.wait_fd = self._wait_fd()

    cdef _fill(self, uint32_t fresh):
        """Frames for every socket to receive into, of all frames half at most; those before place `fresh` have some, and get
        more with each batch.
        """
        cdef uint32_t count = len(self.queues)
        cdef uint32_t i
        for i in range(count):
            self.xsks[i].fill_target = min(self.ring_size, self.frames.count // (2 * count))
            self.xsks[i].put = &self.frames.pool.put[i]
            if i >= fresh or not self.mend:
                xsk_settle(&self.xsks[i])
            if i >= fresh:
                xsk_refill(&self.path, &self.xsks[i])
        self.path.count = self.link.queues = count

    def register(self):
        """Have the XDP program, where there is one, give the queues' packets to the sockets."""
        if self._program is not None:
            for queue in self.queues:
                self.register_queue(queue)

    def register_queue(self, queue):
        """The same for one queue."""
        self._program.register_xsk(queue, self.fds[self.queues.index(queue)])
        self._undo.callback(self._unregister, queue)

    cdef uint32_t _one_more(self) except 0:
        """Room for one more socket; returns its place."""
        cdef Xsk *more
        if self.xsk_count == QUEUES_MAX:
            raise OSError(EMFILE, f"a link has at most {QUEUES_MAX} queues")
        more = <Xsk *>realloc(self.xsks, (self.xsk_count + 1) * sizeof(Xsk))
        if more == NULL:
            raise MemoryError("AF_XDP socket")
        self.xsks = self.path.xsks = more
        memset(&more[self.xsk_count], 0, sizeof(Xsk))
        more[self.xsk_count].fd = -1
        self.xsk_count += 1
        return self.xsk_count - 1

    def open_queue(self, queue):
        """Open and bind a socket for a queue that the interface has got since, for the process that runs the link:
        its descriptor is the last of `fds`; `register_queue` steers packets to it. Raises OSError.
        """
        cdef uint32_t place = self._one_more()
        try:
            xsk_open(&self.xsks[place], queue, self.ring_size)
            self._bind(place, queue, 0)
            if self.path.busy_poll:
                xsk_prefer_busy_poll(&self.xsks[place])
        except BaseException:
            xsk_close(&self.xsks[place])
            self.xsk_count -= 1
            raise
        self.queues += (queue,)

    def adopt_queue(self, queue, int fd):
        """In the process that runs the link, between two turns: serve one more queue by this socket, which is ours now."""
        cdef uint32_t place = self._one_more()
        try:
            xsk_adopt(&self.xsks[place], fd, queue, self.ring_size)
        except BaseException:
            self.xsk_count -= 1
            raise
        self.queues += (queue,)
        self._fill(place)
        if self._every is None:
            self.link.wait_fd = self._wait_fd()
        else:
            self._every.register(fd, select.EPOLLIN)

    def facts(self):
        """What another process needs to run the link: plain values."""
        facts = {name: getattr(self, name) for name in FACTS}
        return facts | {"kernel_polls": self.path.busy_poll, "metadata_bytes": self.path.metadata_bytes}

    cdef _adopt(self, dict facts, list fds):
        """The sockets' descriptors, and then the packet socket's where there is segmentation, are this link's now."""
        cdef uint32_t i
        self.mode, self.why = facts["mode"], facts["why"]
        self.resumed, self.mend = facts.get("resumed", False), facts.get("mend", False)
        self.zero_copy, self.need_wakeup, self.multi_buffer = facts["zero_copy"], facts["need_wakeup"], facts["multi_buffer"]
        self.tx_checksum, self.segmentation = facts["tx_checksum"], facts["segmentation"]
        self.busy_poll, self.path.busy_poll = facts["busy_poll"], facts["kernel_polls"]
        self.path.metadata_bytes = facts["metadata_bytes"]
        if len(fds) != len(self.queues) + self.segmentation:
            raise ValueError(f"{len(fds)} descriptors do not fit {len(self.queues)} queues")
        for i, queue in enumerate(self.queues):
            xsk_adopt(&self.xsks[i], fds[i], queue, self.ring_size)
        if self.segmentation:
            self.path.packet_socket = fds[len(self.queues)]
            self._undo.callback(os.close, self.path.packet_socket)

    def _unregister(self, queue):
        with contextlib.suppress(OSError):      # a closed program has no map any more
            self._program.unregister_xsk(queue)

    def _wait_fd(self):
        """The socket itself, or an epoll descriptor over all of them."""
        if len(self.fds) == 1:
            return self.fds[0]
        self._every = self._undo.enter_context(contextlib.closing(select.epoll()))
        for fd in self.fds:
            self._every.register(fd, select.EPOLLIN)
        return self._every.fileno()

    @property
    def fds(self):
        """The sockets' descriptors, in the order of `queues`."""
        return [self.xsks[i].fd for i in range(len(self.queues))] if self.xsks != NULL else []

    @property
    def all_fds(self):
        """Those that another process needs to run the link."""
        return self.fds + ([self.path.packet_socket] if self.segmentation else [])

    def kernel_stats(self):
        """What the kernel counted for the sockets (XDP_STATISTICS), summed: packets it dropped, and why."""
        return xsk_statistics(self.fds)

    def close(self):
        """Unregister, unbind, and take back every frame that the kernel held. May be called twice.

        From then on nothing is received, and transmit takes nothing.
        """
        cdef uint32_t i
        if self.xsks == NULL:
            return
        self.link.wait_fd = -1
        self.path.count = 0
        self._undo.close()
        for i in range(self.xsk_count):
            xsk_close(&self.xsks[i])
        if not self.left:
            xsk_reclaim(&self.path)
        free(self.xsks)
        self.xsks = self.path.xsks = NULL

    def __dealloc__(self):
        cdef uint32_t i
        if self.xsks != NULL:
            for i in range(self.xsk_count):
                xsk_close(&self.xsks[i])
            free(self.xsks)
