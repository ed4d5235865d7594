"""HTTP requests for /X answered with how many primes lie below X, found by trial division, as a native application.

Two arrangements. `run to completion`: the loop that received the request computes. `two threads`, as in mTCP: the stack's
thread hands requests to an application thread on the same core, and gets the answers back, through a ring each way:

    readable -> asked ring -> application thread: count_primes -> answered ring -> tick: tcp_write
                 (wakes it by `work`, when it sleeps)     (wakes the stack's loop by `done`, where all before was taken)
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memset
from posix.unistd cimport read, write

import errno
import os
import threading

from underpass.link.link cimport NEVER
from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport (
    tcp_abort, tcp_at_end, tcp_close, tcp_consume, tcp_handle, tcp_listen, tcp_peek, tcp_readable, tcp_resolve, tcp_write,
)
from underpass.tcp.tcb cimport NO_CONN, NO_LISTENER, App, Tcp
from underpass.wire.address cimport Address, address_from_text, address_is_v4

cdef extern from * nogil:
    """
    #define load_acquire(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
    #define store_release(at, value) __atomic_store_n(at, value, __ATOMIC_SEQ_CST)
    """
    uint32_t load_acquire(const uint32_t *at)
    void store_release(uint32_t *at, uint32_t value)

cdef enum:
    JOBS = 4096                     # a power of two; more connections than that are refused
    MOST = 1000000

cdef struct Job:
    uint64_t handle                 # of the connection
    uint32_t number                 # X, and in the answer how many primes there are
    uint32_t spare

cdef struct Lane:                   # one writes, one reads
    Job[JOBS] jobs
    uint32_t head
    uint32_t tail

cdef struct Primes:
    bint threads
    uint32_t asleep                 # the application thread is about to sleep, or sleeps
    uint32_t stop
    int work                        # eventfds
    int done
    uint64_t answered
    uint64_t refused
    Lane asked
    Lane answers


cdef uint32_t primes_below(uint32_t limit) noexcept nogil:
    """By trial division with every smaller number: it is to be work, not clever."""
    cdef uint32_t number, divisor
    cdef uint32_t found = 0
    for number in range(2, limit):
        divisor = 2
        while divisor < number and number % divisor:
            divisor += 1
        found += divisor == number
    return found


cdef int number_asked(const uint8_t *octets, uint32_t count) noexcept nogil:
    cdef uint32_t at = 5
    cdef int number = 0
    if count < 4 or memcmp(octets + count - 4, b"\r\n\r\n", 4):
        return -2
    if count < 7 or memcmp(octets, b"GET /", 5):
        return -1
    while octets[at] != c' ':
        if octets[at] < c'0' or octets[at] > c'9' or number > MOST // 10:
            return -1
        number = 10 * number + (octets[at] - c'0')
        at += 1
    return number


cdef int answer_text(char *into, uint32_t found) noexcept nogil:
    return snprintf(into, ANSWER, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%7u\n", found)


cdef void answer(Tcp *tcp, uint32_t conn, Primes *it, uint32_t found) noexcept nogil:
    cdef char[ANSWER] text
    cdef int octets = answer_text(text, found)
    if tcp_write(tcp, conn, <uint8_t *>text, <uint32_t>octets) < <uint32_t>octets:
        it.refused += 1
        tcp_abort(tcp, conn)
        return
    it.answered += 1


cdef void primes_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """One request at a time, in one frame, is all that this application takes."""
    cdef Primes *it = <Primes *>self
    cdef const uint8_t *octets = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &octets)
    cdef int number
    if count == 0:
        if tcp_at_end(tcp, conn):
            tcp_close(tcp, conn)
        return
    number = number_asked(octets, count)
    if number == -2 and tcp_readable(tcp, conn) == count:
        return
    if number < 0 or (it.threads and it.asked.tail - load_acquire(&it.asked.head) == JOBS):
        it.refused += 1
        tcp_abort(tcp, conn)
        return
    tcp_consume(tcp, conn, count)
    if it.threads:
        hand_over(it, &it.asked, tcp_handle(tcp, conn), <uint32_t>number)
        if load_acquire(&it.asleep):
            ring(it.work)
    else:
        answer(tcp, conn, it, primes_below(<uint32_t>number))


cdef inline void hand_over(Primes *it, Lane *lane, uint64_t handle, uint32_t number) noexcept nogil:
    cdef Job *job = &lane.jobs[lane.tail % JOBS]
    job.handle, job.number = handle, number
    store_release(&lane.tail, lane.tail + 1)


cdef inline void ring(int eventfd) noexcept nogil:
    cdef uint64_t one = 1
    write(eventfd, &one, sizeof(one))


cdef uint64_t primes_tick(Tcp *tcp, void *self) noexcept nogil:
    """Send what the application thread has answered. It rings when it finds that all before was taken: so the tail is
    looked at again when the head has been moved.
    """
    cdef Primes *it = <Primes *>self
    cdef Lane *lane = &it.answers
    cdef uint32_t conn
    while lane.head != load_acquire(&lane.tail):
        conn = tcp_resolve(tcp, lane.jobs[lane.head % JOBS].handle)
        if conn != NO_CONN:
            answer(tcp, conn, it, lane.jobs[lane.head % JOBS].number)
        store_release(&lane.head, lane.head + 1)
    return NEVER


cdef void application(Primes *it) noexcept nogil:
    """The application thread: takes requests until it is told to stop, and sleeps while there are none."""
    cdef Lane *lane = &it.asked
    cdef Job *job
    cdef uint64_t times
    while not load_acquire(&it.stop):
        store_release(&it.asleep, 1)
        if lane.head == load_acquire(&lane.tail):
            read(it.work, &times, sizeof(times))
        store_release(&it.asleep, 0)
        while lane.head != load_acquire(&lane.tail):
            job = &lane.jobs[lane.head % JOBS]
            hand_over(it, &it.answers, job.handle, primes_below(job.number))
            store_release(&lane.head, lane.head + 1)
            if load_acquire(&it.answers.head) == it.answers.tail - 1:
                ring(it.done)


cdef void primes_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    pass


cdef void nothing(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    pass


cdef class PrimesServer:
    """See primes.pyi."""
    cdef Primes *it
    cdef Primes primes
    cdef object _thread
    cdef readonly int wake_fd

    def __cinit__(self, *args, **kwargs):
        memset(&self.primes, 0, sizeof(Primes))
        self.it = &self.primes
        self.it.work = self.it.done = self.wake_fd = -1

    def __init__(self, Stack stack, str address, int port, bint threads=False):
        cdef App app
        cdef Address local
        cdef int error = 0
        memset(&app, 0, sizeof(App))
        app.self = self.it
        app.accepted = app.connected = app.writable = nothing
        app.readable = primes_readable
        app.closed = primes_closed
        if threads:
            app.tick = primes_tick
        self.it.threads = threads
        self.it.work = os.eventfd(0, os.EFD_CLOEXEC)
        self.it.done = self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        number = stack.register_app(&app, self)
        address_from_text(address, &local)
        claim = getattr(stack, "claim", None)
        if claim is not None:
            claim((address, port))
        family = 4 if address_is_v4(&local) else 6
        if tcp_listen(&stack.tcp, &local, family, port, number, 1024, 0, 0, &error) == NO_LISTENER:
            raise OSError(error or errno.EINVAL, f"{os.strerror(error)}: {address} port {port}")
        if threads:
            self._thread = threading.Thread(target=self._compute, daemon=True)
            self._thread.start()

    def _compute(self):
        with nogil:
            application(self.it)

    def woken(self):
        """See primes.pyi."""
        cdef uint64_t times
        read(self.wake_fd, &times, sizeof(times))

    def stats(self):
        """See primes.pyi."""
        return {"answered": self.it.answered, "refused": self.it.refused}

    def close(self):
        """See primes.pyi."""
        store_release(&self.it.stop, 1)
        if self.it.work >= 0:
            ring(self.it.work)
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def count_primes(uint32_t limit):
    """See primes.pyi."""
    return primes_below(limit)
