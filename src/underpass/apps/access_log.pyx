"""The access log: a ring with one writer, the packet path, and one reader, a thread that writes to the file.
"""
import os
import threading

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    /* head: stored after the line is in place; tail: stored after it was written out. */
    #define ring_load(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
    #define ring_store(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)
    """
    uint64_t ring_load(const uint64_t *at) noexcept nogil
    void ring_store(uint64_t *at, uint64_t value) noexcept nogil

BUSY_S = 0.05           # between two writes while lines come
IDLE_S = 1.0            # between two looks while none do


cdef void log_append(LogRing *ring, const uint8_t *line, uint32_t count) noexcept nogil:
    """Copy a line into the ring, or count it as dropped."""
    cdef uint64_t head = ring.head
    cdef uint64_t at = head & ring.mask
    cdef uint64_t together = ring.mask + 1 - at
    if count > ring.mask + 1 - (head - ring_load(&ring.tail)):
        ring.dropped += 1
        return
    if count <= together:
        memcpy(ring.octets + at, line, count)
    else:
        memcpy(ring.octets + at, line, together)
        memcpy(ring.octets, line + together, count - together)
    ring.lines += 1
    ring_store(&ring.head, head + count)


cdef class AccessLog:
    """See access_log.pyi."""

    def __cinit__(self, str path, uint64_t ring_octets=16 << 20, run=True):
        memset(&self.ring, 0, sizeof(LogRing))
        self._file = -1
        if ring_octets < 4096 or ring_octets & (ring_octets - 1):
            raise ValueError(f"a log's ring is a power of two of at least 4096 bytes, not {ring_octets}")
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.ring.octets = <uint8_t *>malloc(ring_octets)
        if self.ring.octets == NULL:
            raise MemoryError(f"{ring_octets} bytes for the log's ring")
        self.ring.mask = ring_octets - 1

    def __init__(self, path, ring_octets=16 << 20, run=True):
        self._wake = threading.Event()
        self._thread = None
        if run:
            self.run()

    def run(self):
        """See access_log.pyi."""
        self._thread = threading.Thread(target=self._write_on, name="access-log", daemon=True)
        self._thread.start()

    def __dealloc__(self):
        free(self.ring.octets)

    def append(self, bytes line):
        """Put a line into the ring."""
        log_append(&self.ring, line, <uint32_t>len(line))

    def flush(self):
        """Write out what waits; True where there was something. Called by one thread at a time."""
        cdef uint64_t head = ring_load(&self.ring.head)
        cdef uint64_t tail = self.ring.tail
        cdef uint64_t at = tail & self.ring.mask
        cdef uint64_t count = min(head - tail, self.ring.mask + 1 - at)
        if count == 0:
            return False
        written = os.write(self._file, <const uint8_t[:count]>(self.ring.octets + at))
        ring_store(&self.ring.tail, tail + <uint64_t>written)
        return True

    def _write_on(self):
        """The thread: write what waits, then rest."""
        try:
            while not self._closing:
                wrote = False
                while self.flush():
                    wrote = True
                self._wake.wait(BUSY_S if wrote else IDLE_S)
        except OSError as error:
            self.error = error

    def stats(self):
        """Lines taken and lines dropped."""
        return {"lines": self.ring.lines, "dropped": self.ring.dropped}

    def close(self):
        """Write what is left and close the file. May be called twice."""
        if self._file < 0:
            return
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        try:
            while self.error is None and self.flush():
                pass
        finally:
            os.close(self._file)
            self._file = -1
