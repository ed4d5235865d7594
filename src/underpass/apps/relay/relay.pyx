"""The relay's loop: both links are emptied, what is due is sent, and between times it sleeps until the next is due."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.apps.histogram cimport histogram_summary
from underpass.apps.relay.lane cimport Lane, LaneRules, lane_admit, lane_close, lane_due, lane_open, lane_send, lane_start
from underpass.link.frames cimport frame_unref
from underpass.link.link cimport DESC_CONTINUES, NEVER, Desc, Link, LinkBase
from underpass.stack.turn cimport monotonic_ns

cdef extern from "<poll.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *mask)
    enum: POLLIN

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, unsigned long value)
    enum: PR_SET_TIMERSLACK

cdef enum:
    BATCH = 256
    MAX_WAKE_FDS = 4
    LOOK_ABROAD_NS = 2000000        # under load: how often descriptors besides the links' are looked at
    TX_RETRY_NS = 50000             # the device's ring was full: look again soon

RULES = {"lose": 0.0, "reorder": 0.0, "duplicate": 0.0, "delay_ms": 0.0, "reorder_ms": 0.0, "rate_mbit": 0.0,
         "queue_bytes": 0.0}


def rules(**given):
    """All rules of a direction by name, those that are not given harmless. Raises ValueError."""
    for name, value in given.items():
        if name not in RULES:
            raise ValueError(f"{name} is no rule; rules are {', '.join(RULES)}")
        if value < 0 or (name in ("lose", "reorder", "duplicate") and value > 1):
            raise ValueError(f"{name} is out of range: {value}")
    if given.get("rate_mbit") and not given.get("queue_bytes"):
        raise ValueError("a bottleneck needs a queue: give queue_bytes with rate_mbit")
    return RULES | given


cdef LaneRules lane_rules(dict given):
    cdef LaneRules into
    cdef double all_of_them = 2.0 ** 64
    into.lose = min(int(given["lose"] * all_of_them), 2 ** 64 - 1)
    into.reorder = min(int(given["reorder"] * all_of_them), 2 ** 64 - 1)
    into.duplicate = min(int(given["duplicate"] * all_of_them), 2 ** 64 - 1)
    into.delay_ns = int(given["delay_ms"] * 1e6)
    into.reorder_ns = int(given["reorder_ms"] * 1e6)
    into.octet_ns = 8e3 / given["rate_mbit"] if given["rate_mbit"] else 0.0
    into.queue_octets = int(given["queue_bytes"])
    return into


cdef struct Path:
    Link *left
    Link *right
    Lane rightward
    Lane leftward


cdef uint32_t take_in(Link *link, Lane *lane, uint64_t now_ns) noexcept nogil:
    """Admit what the link has. A packet in several buffers is none that a relay of plain MTU should see: dropped."""
    cdef Desc[BATCH] batch
    cdef uint32_t count = link.receive(link, batch, BATCH, now_ns)
    cdef bint in_parts = False
    cdef uint32_t i
    for i in range(count):
        if in_parts or batch[i].flags & DESC_CONTINUES:
            in_parts = batch[i].flags & DESC_CONTINUES
            lane.counters.overrun += 1
            frame_unref(lane.pool, batch[i].frame)
        else:
            lane_admit(lane, &batch[i], now_ns)
    return count


cdef uint32_t path_turn(Path *path, uint64_t now_ns) noexcept nogil:
    cdef uint32_t moved = take_in(path.left, &path.rightward, now_ns) + take_in(path.right, &path.leftward, now_ns)
    moved += lane_send(&path.rightward, path.right, now_ns)
    return moved + lane_send(&path.leftward, path.left, now_ns)


cdef uint64_t path_deadline(Path *path, uint64_t now_ns) noexcept nogil:
    cdef uint64_t at = min(lane_due(&path.rightward), lane_due(&path.leftward))
    if at <= now_ns:                # due, and not taken
        at = now_ns + TX_RETRY_NS
    at = min(at, path.left.deadline(path.left) if path.left.deadline != NULL else <uint64_t>NEVER)
    return min(at, path.right.deadline(path.right) if path.right.deadline != NULL else <uint64_t>NEVER)


cdef int wait(pollfd *fds, uint32_t count, uint64_t now_ns, uint64_t until_ns) noexcept nogil:
    cdef timespec timeout
    cdef uint64_t left = until_ns - now_ns if until_ns > now_ns else 0
    timeout.tv_sec = <long>(left // 1000000000)
    timeout.tv_nsec = <long>(left % 1000000000)
    return ppoll(fds, count, &timeout, NULL)


cdef void path_run(Path *path, pollfd *fds, uint32_t mine, uint64_t end_ns) noexcept nogil:
    """`fds`: the caller's `mine` descriptors, then both links'. Returns when one of the caller's is readable."""
    cdef uint64_t now = monotonic_ns()
    cdef uint64_t look_at = now
    cdef uint32_t moved, i
    cdef int ready
    while now < end_ns:
        moved = path_turn(path, now)
        ready = 0
        if moved == 0:
            ready = wait(fds, mine + 2, now, min(path_deadline(path, now), end_ns))
        elif now >= look_at:
            look_at = now + LOOK_ABROAD_NS
            ready = wait(fds, mine, now, now)
        if ready < 0:
            return
        for i in range(mine if ready else 0):
            if fds[i].revents:
                return
        now = monotonic_ns()


cdef class Relay:
    """Passes packets on between two links over one pool of frames, each direction by rules of its own."""
    cdef Path path
    cdef LinkBase left
    cdef LinkBase right

    def __cinit__(self, LinkBase left not None, LinkBase right not None):
        if left.link.pool != right.link.pool:
            raise ValueError("the two links of a relay share their frames")
        self.left, self.right = left, right
        self.path.left, self.path.right = &left.link, &right.link
        if lane_open(&self.path.rightward, left.link.pool) or lane_open(&self.path.leftward, left.link.pool):
            raise MemoryError("the relay's queues")

    def __dealloc__(self):
        self.close()

    def start(self, rightward=RULES, leftward=RULES, uint64_t seed=1):
        """Begin anew under these rules. Raises ValueError for a rule that does not exist or is out of range."""
        cdef LaneRules there = lane_rules(rules(**rightward))
        cdef LaneRules back = lane_rules(rules(**leftward))
        lane_start(&self.path.rightward, &there, seed)
        lane_start(&self.path.leftward, &back, ~seed)

    def step(self, uint64_t now_ns):
        """One turn at the given time, for virtual clocks: packets that came in or left."""
        return path_turn(&self.path, now_ns)

    def deadline(self):
        """When the next packet is due, in nanoseconds of the caller's clock, or None."""
        cdef uint64_t at = min(lane_due(&self.path.rightward), lane_due(&self.path.leftward))
        return None if at == <uint64_t>NEVER else at

    def run(self, double timeout, wake_fds=()):
        """Relay until one of `wake_fds` (at most 4) is readable, which are returned, or the timeout or a signal came."""
        cdef pollfd[6] fds                      # MAX_WAKE_FDS and the links
        cdef uint32_t mine = <uint32_t>len(wake_fds)
        cdef uint64_t end_ns = monotonic_ns() + <uint64_t>(timeout * 1e9)
        cdef uint32_t i
        if mine > MAX_WAKE_FDS:
            raise ValueError(f"at most {MAX_WAKE_FDS} descriptors can be waited on")
        prctl(PR_SET_TIMERSLACK, 1)             # the default, 50 us, would be part of every delay
        for i, fd in enumerate([*wake_fds, self.left.link.wait_fd, self.right.link.wait_fd]):
            fds[i].fd, fds[i].events, fds[i].revents = fd, POLLIN, 0
        with nogil:
            path_run(&self.path, fds, mine, end_ns)
        return [fd for i, fd in enumerate(wake_fds) if fds[i].revents]

    def stats(self):
        """Counters of both directions, "rightward" and "leftward", with quantiles of the time in the queue."""
        there, back = dict(self.path.rightward.counters), dict(self.path.leftward.counters)
        for row, waits in ((there, histogram_summary(&self.path.rightward.waits)),
                           (back, histogram_summary(&self.path.leftward.waits))):
            row |= {"queue_mean_ms": waits["mean"] / 1e6, "queue_p50_ms": waits["p50"] / 1e6,
                    "queue_p90_ms": waits["p90"] / 1e6, "queue_max_ms": waits["max"] / 1e6}
        return {"rightward": there, "leftward": back}

    def close(self):
        """Release what is held. The links stay open."""
        lane_close(&self.path.rightward)
        lane_close(&self.path.leftward)
