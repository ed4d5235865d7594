"""Base class of the packet devices."""
cimport cython
from libc.string cimport memset


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
        return dict(self.counters)

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
