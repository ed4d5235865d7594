"""The HTTP server over Linux's sockets, to measure against: what `http_server` does with a stack, in an epoll loop.

Requests are parsed, looked up and answered by the same code. It has no timeouts, and throws no bodies away: a request
with a body ends its connection. A connection's buffer is touched first when a request comes on it.
"""
import os
import socket

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memmove, memset
from posix.types cimport off_t
from posix.unistd cimport close as close_fd

from underpass.apps.file_cache cimport NO_ENTRY, Entry, FileCache, cache_pin, cache_unpin
from underpass.apps.http_answer cimport http_answer, http_refuse
from underpass.apps.http_blocks cimport NO_BLOCK
from underpass.apps.http_date cimport date_format
from underpass.apps.http_request cimport (
    HEAD_LIMIT, REQUEST_DONE, REQUEST_MORE, Request, request_begin, request_parse,
)
from underpass.apps.http_state cimport HTTP_CLOSES, HTTP_GONE, HTTP_IDLE, HTTP_SENDING, Http, HttpConn, HttpCounters, Output
from underpass.tcp.tcb cimport Tcp

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CLOEXEC
    union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int count, int timeout_ms)

cdef extern from "<sys/socket.h>" nogil:
    """
    #define accept_plain(fd) accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
    """
    enum:
        MSG_NOSIGNAL
        MSG_MORE
    int accept_plain "accept_plain"(int fd)
    ssize_t recv(int fd, void *into, size_t count, int flags)
    ssize_t send(int fd, const void *octets, size_t count, int flags)
    int setsockopt(int fd, int level, int name, const void *value, uint32_t octets)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int out, int into, off_t *offset, size_t count)

cdef extern from "<time.h>" nogil:
    """
    static inline unsigned long long clock_ns(clockid_t clock)
    { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
    """
    enum:
        CLOCK_MONOTONIC
        CLOCK_REALTIME
    uint64_t clock_ns(int clock)

cdef enum:
    CLIENTS = 8192                  # descriptors; whose number is above that is closed at once
    EVENTS = 256
    SECOND_NS = 1000000000

cdef enum Sent:
    SENT_ALL = 0
    SENT_SOME = 1                   # the socket's buffer is full
    SEND_FAILED = 2

cdef void wait_for(int epoll, int fd, int change, uint32_t events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.fd = fd
    epoll_ctl(epoll, change, fd, &event)


cdef int send_file(Http *http, HttpConn *it, int fd) noexcept nogil:
    """What is left of the file's part: from memory, or by the kernel out of the file itself."""
    cdef Entry *entry
    cdef off_t offset
    cdef ssize_t sent
    while it.offset < it.end:
        entry = &http.cache.entries[it.entry]
        if entry.body != NULL:
            sent = send(fd, entry.body + it.offset, it.end - it.offset, MSG_NOSIGNAL)
        else:
            offset = <off_t>it.offset
            sent = sendfile(fd, entry.fd, &offset, it.end - it.offset)
        if sent <= 0:
            return SENT_SOME if sent < 0 and errno == EAGAIN else SEND_FAILED
        it.offset += <uint64_t>sent
    return SENT_ALL


cdef int send_answer(Http *http, HttpConn *it, int fd, const Output *out) noexcept nogil:
    """Head and file. A head that finds no room is of a peer that asks and does not read: it is given up."""
    cdef int more = MSG_MORE if it.offset < it.end else 0
    if send(fd, out.head, out.count, MSG_NOSIGNAL | more) != <ssize_t>out.count:
        return SEND_FAILED
    return send_file(http, it, fd)


cdef class KernelHttp:
    """See kernel_http.pyi."""
    def __cinit__(self, *args, **kwargs):
        memset(&self.http, 0, sizeof(Http))
        memset(&self.counters, 0, sizeof(HttpCounters))
        self.epoll = -1

    def __init__(self, str directory not None, str address not None, int port):
        self.files = FileCache(directory)
        self.http.cache = &self.files.cache
        self.http.counters = &self.counters
        self.tcp = <Tcp *>calloc(1, sizeof(Tcp))
        self.clients = <Client *>calloc(CLIENTS, sizeof(Client))
        if self.tcp == NULL or self.clients == NULL:
            raise MemoryError("the server's connections")
        self._listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                                              backlog=4096, reuse_port=True)
        self._listener.setblocking(False)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        wait_for(self.epoll, self._listener.fileno(), EPOLL_CTL_ADD, EPOLLIN)

    def __dealloc__(self):
        self.close()
        free(self.tcp)
        free(self.clients)

    def run(self, double timeout_s):
        """See kernel_http.pyi."""
        cdef epoll_event[EVENTS] events
        cdef int timeout_ms = <int>(timeout_s * 1000)
        cdef int listener = self._listener.fileno()
        cdef int count = 1
        cdef int i
        with nogil:
            while count > 0:
                count = epoll_wait(self.epoll, events, EVENTS, timeout_ms)
                self._set_time()
                for i in range(count):
                    if events[i].data.fd == listener:
                        self._accept(listener)
                    else:
                        self._turn(events[i].data.fd)

    cdef void _set_time(self) noexcept nogil:
        cdef uint64_t wall_ns
        self.tcp.now_ns = clock_ns(CLOCK_MONOTONIC)
        if self.tcp.now_ns < self.http.second_ends_ns:
            return
        wall_ns = clock_ns(CLOCK_REALTIME)
        self.http.wall_ns = <int64_t>(wall_ns - self.tcp.now_ns)
        self.http.now_s = <int64_t>(wall_ns // SECOND_NS)
        self.http.second_ends_ns = self.tcp.now_ns + SECOND_NS - wall_ns % SECOND_NS
        date_format(self.http.now_s, self.http.date)

    cdef void _accept(self, int listener) noexcept nogil:
        """All that have come."""
        cdef int one = 1
        cdef int fd = accept_plain(listener)
        while fd >= 0:
            if fd >= CLIENTS:
                self.counters.no_block += 1
                close_fd(fd)
            else:
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
                memset(&self.clients[fd].conn, 0, sizeof(HttpConn))
                self.clients[fd].conn.state = HTTP_IDLE
                self.clients[fd].conn.entry = NO_ENTRY
                self.clients[fd].conn.block = NO_BLOCK
                self.clients[fd].count = 0
                self.high = max(self.high, fd + 1)
                self.http.open += 1
                self.counters.connections += 1
                wait_for(self.epoll, fd, EPOLL_CTL_ADD, EPOLLIN)
            fd = accept_plain(listener)

    cdef void _turn(self, int fd) noexcept nogil:
        """Octets came, or there is room again."""
        cdef Client *it = &self.clients[fd]
        cdef ssize_t count
        cdef int sent
        if it.conn.state == HTTP_SENDING:
            sent = send_file(&self.http, &it.conn, fd)
            if sent != SENT_SOME:
                cache_unpin(self.http.cache, it.conn.entry)
                it.conn.state = HTTP_IDLE
                wait_for(self.epoll, fd, EPOLL_CTL_MOD, EPOLLIN)
                if self._after(it, fd, sent):
                    self._take(it, fd)
            return
        count = recv(fd, it.octets + it.count, HEAD_LIMIT - it.count, 0)
        if count <= 0:
            if count == 0 or errno not in (EAGAIN, EINTR):
                self._close(fd)
            return
        it.count += <uint32_t>count
        self._take(it, fd)

    cdef void _take(self, Client *it, int fd) noexcept nogil:
        """Answer every request that is here whole, until an answer has to wait for room."""
        cdef Request req
        cdef Output out
        cdef uint32_t at = 0
        cdef int result, sent
        while at < it.count and it.conn.state == HTTP_IDLE:
            request_begin(&req)
            result = request_parse(&req, it.octets + at, it.count - at)
            if result == REQUEST_MORE:
                break
            if result == REQUEST_DONE:
                http_answer(self.tcp, 0, &self.http, &it.conn, &req, it.octets + at, &out)
                at += req.parsed
            else:
                http_refuse(self.tcp, 0, &self.http, &it.conn, it.octets + at, it.count - at, result, &out)
            sent = send_answer(&self.http, &it.conn, fd, &out)
            if sent == SENT_SOME:
                cache_pin(self.http.cache, it.conn.entry)
                it.conn.state = HTTP_SENDING
                wait_for(self.epoll, fd, EPOLL_CTL_MOD, EPOLLOUT)
            elif not self._after(it, fd, sent):
                return
        it.count -= at
        memmove(it.octets, it.octets + at, it.count)

    cdef bint _after(self, Client *it, int fd, int sent) noexcept nogil:
        """An answer is out: whether the connection goes on."""
        if sent == SEND_FAILED or it.conn.flags & HTTP_CLOSES or it.conn.skip:
            self._close(fd)
            return False
        return True

    cdef void _close(self, int fd) noexcept nogil:
        close_fd(fd)
        self.clients[fd].conn.state = HTTP_GONE
        self.http.open -= 1

    def close(self):
        """See kernel_http.pyi."""
        cdef int fd
        for fd in range(self.high):
            if self.clients[fd].conn.state != HTTP_GONE:
                self._close(fd)
        self.high = 0
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self.epoll >= 0:
            close_fd(self.epoll)
            self.epoll = -1

    def stats(self):
        """See kernel_http.pyi."""
        return {**self.counters, "open": self.http.open}
