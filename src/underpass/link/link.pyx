"""Base class of the packet devices."""
cimport cython
from libc.string cimport memset


cdef tuple _names():
    cdef LinkCounters none
    memset(&none, 0, sizeof(LinkCounters))
    return tuple(<dict>none)


LINK_COUNTERS = _names()


@cython.no_gc_clear                 # connections reach into the frames until the last of them is gone
cdef class LinkBase:
    """A packet device over a frame pool. Subclasses fill in the functions of `Link`."""

    def __cinit__(self, *args, **kwargs):
        memset(&self.link, 0, sizeof(Link))
        memset(&self.counters, 0, sizeof(LinkCounters))
        self.link.counters = &self.counters
        self.link.wait_fd = -1

    def stats(self):
        """The link's counters by name."""
        return dict(self.link.counters[0])

    def kernel_stats(self):
        """What the kernel counted besides: nothing, but for AF_XDP."""
        return {}

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        at[0] = self.link.counters[0]
        self.link.counters = at
        self.counters_owner = owner
        return 0

    @property
    def mtu(self):
        """Octets of the largest IP packet."""
        return self.link.mtu

    @property
    def wait_fd(self):
        """Descriptor that is readable when packets wait, or -1."""
        return self.link.wait_fd

    def close(self):
        """Release what the device holds. May be called twice."""
