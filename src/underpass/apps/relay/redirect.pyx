"""The relay's XDP program: every frame goes to the socket of its queue. Six instructions need no compiler."""
from libc.errno cimport errno
from libc.stdint cimport uint32_t
from libc.string cimport memset
from posix.unistd cimport close as close_fd

import os
import struct

from underpass.xdp.libbpf cimport BPF_XDP, XDP_FLAGS_DRV_MODE, bpf_link_create, bpf_link_create_opts, \
    bpf_map_delete_elem, bpf_map_update_elem

cdef extern from "<linux/bpf.h>" nogil:
    enum:
        BPF_MAP_TYPE_XSKMAP
        BPF_PROG_TYPE_XDP
        BPF_FUNC_redirect_map
        XDP_DROP
    struct bpf_insn:
        pass

cdef extern from "<bpf/bpf.h>" nogil:
    int bpf_map_create(int kind, const char *name, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries,
                       const void *options)
    int bpf_prog_load(int kind, const char *name, const char *license, const bpf_insn *code, size_t count,
                      const void *options)

cdef enum:
    QUEUES = 64
    RX_QUEUE_INDEX = 16             # offsetof(struct xdp_md, rx_queue_index)


def instruction(code, to=0, source=0, offset=0, value=0):
    """struct bpf_insn (Documentation/bpf/standardization/instruction-set.rst), on a little-endian machine."""
    return struct.pack("<BBhi", code, to | source << 4, offset, value)


def program(map_fd):
    """return bpf_redirect_map(&map, context->rx_queue_index, XDP_DROP)"""
    return b"".join((
        instruction(0x61, to=2, source=1, offset=RX_QUEUE_INDEX),       # r2 = *(u32 *)(r1 + 16)
        instruction(0x18, to=1, source=1, value=map_fd),                # r1 = map, an instruction of two words
        instruction(0),
        instruction(0xb7, to=3, value=XDP_DROP),                        # r3 = XDP_DROP
        instruction(0x85, value=BPF_FUNC_redirect_map),
        instruction(0x95)))                                             # return r0


cdef class RedirectAll:
    """The program, attached to an interface in native mode until close(). Raises OSError."""
    cdef int _map, _program, _link
    cdef readonly str mode
    cdef readonly object why_not_better

    def __cinit__(self):
        self._map = self._program = self._link = -1
        self.mode = "native"

    def __init__(self, uint32_t ifindex):
        cdef bpf_link_create_opts options
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.flags = XDP_FLAGS_DRV_MODE
        self._map = self._checked(bpf_map_create(BPF_MAP_TYPE_XSKMAP, b"relay", 4, 4, QUEUES, NULL), "make a map")
        code = program(self._map)
        self._program = self._checked(
            bpf_prog_load(BPF_PROG_TYPE_XDP, b"relay", b"Dual MIT/GPL", <const bpf_insn *><const char *>code,
                          len(code) // 8, NULL), "load the relay's XDP program")
        self._link = self._checked(bpf_link_create(self._program, ifindex, BPF_XDP, &options),
                                   f"attach the relay's XDP program to interface {ifindex}")

    def __dealloc__(self):
        self.close()

    cdef int _checked(self, int result, str what) except -1:
        if result < 0:
            raise OSError(errno, f"cannot {what}: {os.strerror(errno)}")
        return result

    def register_xsk(self, uint32_t queue, int fd):
        """What comes in on receive queue `queue` goes to the AF_XDP socket `fd`."""
        self._checked(bpf_map_update_elem(self._map, &queue, &fd, 0), f"register the socket of queue {queue}")

    def unregister_xsk(self, uint32_t queue):
        """No socket serves the queue any longer."""
        self._checked(bpf_map_delete_elem(self._map, &queue), f"unregister the socket of queue {queue}")

    def close(self):
        """Detach and unload. May be called twice."""
        for fd in (self._link, self._program, self._map):
            if fd >= 0:
                close_fd(fd)
        self._link = self._program = self._map = -1
