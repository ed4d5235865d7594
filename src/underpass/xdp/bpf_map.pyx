"""A map of BPF by its descriptor: entries as octets, and array maps as memory."""
from libc.errno cimport ENOENT, errno
from libc.stdint cimport uint32_t
from libc.string cimport memset
from posix.unistd cimport close as close_fd

import mmap
import os

from underpass.xdp.libbpf cimport *

cdef enum:
    PER_CPU = 1 << BPF_MAP_TYPE_PERCPU_ARRAY | 1 << BPF_MAP_TYPE_PERCPU_HASH | 1 << BPF_MAP_TYPE_LRU_PERCPU_HASH


cdef class BpfMap:
    """One map; owns its descriptor `fd`. Keys and values are bytes of `key_size` and `value_size`."""

    def __cinit__(self):
        self.fd = -1

    def __init__(self, int fd):
        cdef bpf_map_info info
        cdef uint32_t room = sizeof(info)
        memset(&info, 0, sizeof(info))
        if bpf_obj_get_info_by_fd(fd, &info, &room):
            raise OSError(errno, f"cannot ask about a BPF map: {os.strerror(errno)}")
        self.fd = fd
        self.name = info.name.decode()
        self.id = info.id
        self.kind = info.type
        self.key_size, self.value_size, self.max_entries = info.key_size, info.value_size, info.max_entries
        self.flags = info.map_flags

    def __dealloc__(self):
        self.close()

    def lookup(self, bytes key not None):
        """The value, or None where there is no entry; of a map by CPU, those of all CPUs, one after the other."""
        self._check(key, self.key_size, "key")
        value = bytearray(self._room())
        cdef char *into = value
        if bpf_map_lookup_elem(self.fd, <const char *>key, into):
            if errno == ENOENT:
                return None
            raise self._error("read", errno)
        return bytes(value)

    def update(self, bytes key not None, bytes value not None):
        """Set one entry. Raises OSError, E2BIG where the map is full."""
        self._check(key, self.key_size, "key")
        self._check(value, self._room(), "value")
        cdef int failed = bpf_map_update_elem(self.fd, <const char *>key, <const char *>value, 0)
        if failed:
            raise self._error("write", -failed)

    def delete(self, bytes key not None):
        """Remove one entry; whether it was there."""
        self._check(key, self.key_size, "key")
        cdef int failed = bpf_map_delete_elem(self.fd, <const char *>key)
        if failed and failed != -ENOENT:
            raise self._error("delete from", -failed)
        return failed == 0

    def keys(self):
        """All keys; those that come or go meanwhile may be there or not."""
        found = []
        cdef bytearray key = bytearray(self.key_size)
        cdef char *at = key
        cdef int failed = bpf_map_get_next_key(self.fd, NULL, at)
        while failed == 0 and len(found) < self.max_entries:
            found.append(bytes(key))
            failed = bpf_map_get_next_key(self.fd, at, at)
        return found

    def has_keys(self):
        """Whether there is any entry."""
        key = bytearray(self.key_size)
        cdef char *at = key
        return bpf_map_get_next_key(self.fd, NULL, at) == 0

    def items(self):
        """All keys with their values."""
        rows = [(key, self.lookup(key)) for key in self.keys()]
        return [(key, value) for key, value in rows if value is not None]

    def memory(self):
        """The values of an array map that was made for it, as memory that can be written to; close it."""
        return mmap.mmap(self.fd, (self.value_size + 7) // 8 * 8 * self.max_entries)

    def close(self):
        """May be called twice."""
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1

    cdef uint32_t _room(self):
        if 1 << self.kind & PER_CPU:
            return (self.value_size + 7) // 8 * 8 * libbpf_num_possible_cpus()
        return self.value_size

    cdef _check(self, bytes octets, uint32_t size, str what):
        if len(octets) != size:
            raise ValueError(f"a {what} of the map {self.name} has {size} octets, not {len(octets)}")

    cdef _error(self, str verb, int error):
        return OSError(error, f"cannot {verb} the map {self.name}: {os.strerror(error)}")


def array_map(str name not None, uint32_t value_size, uint32_t entries, bint is_sized=False):
    """A new array map that can be memory; `is_sized`: it stands where arrays of any length may. Raises OSError."""
    cdef bpf_map_create_opts options
    memset(&options, 0, sizeof(options))
    options.sz = sizeof(options)
    options.map_flags = BPF_F_MMAPABLE | (BPF_F_INNER_MAP if is_sized else 0)
    cdef int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name.encode(), 4, value_size, entries, &options)
    if fd < 0:
        raise OSError(-fd, f"cannot make the map {name} of {value_size * entries} octets: {os.strerror(-fd)}")
    return BpfMap(fd)
