"""The generator of floods, and a program that drops: see xdp/flood.bpf.c."""
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from posix.unistd cimport close as close_fd

import errno as errors
import os
import socket
import struct
from importlib.resources import files

from underpass.xdp.libbpf cimport *

cdef extern from "<linux/bpf.h>" nogil:
    enum:
        BPF_F_TEST_XDP_LIVE_FRAMES

cdef extern from "<bpf/bpf.h>" nogil:
    struct bpf_test_run_opts:
        size_t sz
        const void *data_in
        uint32_t data_size_in
        uint32_t repeat
        uint32_t flags
        uint32_t batch_size
    int bpf_prog_test_run_opts(int program, bpf_test_run_opts *options)

cdef enum:
    BATCH = 64                      # frames of a run, of which those leave that are due
    BURST = 32                      # as in xdp/flood.bpf.c
    RUNS = 1 << 30                  # in one call, which takes 20 ms to begin
    IP_AT = 14
    TCP_AT = 34
    LEAST = 54                      # octets of a frame: with a TCP header

cdef struct Rules:                  # struct flood_rules
    uint32_t ifindex
    uint32_t first
    uint32_t mask
    uint32_t ip_sum
    uint32_t tcp_sum
    uint32_t burst_ns
    uint8_t[54] head                # LEAST


def sum_of(octets):
    """The checksum's sum (RFC 1071), not yet folded."""
    octets += bytes(len(octets) % 2)
    return sum(struct.unpack(f"!{len(octets) // 2}H", octets))


def sums_of(frame):
    """The sums that xdp/flood.bpf.c goes on from: of the IP header, and of the segment, 0 for UDP."""
    if len(frame) < LEAST or frame[IP_AT] != 0x45 or frame[IP_AT + 9] not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        raise ValueError(f"a flood's frame is IPv4 without options, TCP or UDP, of at least {LEAST} octets")
    header, segment, protocol = frame[IP_AT:TCP_AT], frame[TCP_AT:], frame[IP_AT + 9]
    ip = sum_of(header[:10] + header[16:])
    if protocol == socket.IPPROTO_UDP:
        return ip, 0
    return ip, sum_of(header[16:]) + protocol + len(segment) + sum_of(segment[2:16] + segment[18:])


cdef class Loaded:
    """One program of xdp/flood.bpf.c."""
    cdef bpf_object *object
    cdef int program

    cdef _load(self, bytes name, bytes rules):
        cdef bpf_map *globals_
        cdef bpf_program *it
        cdef int failed
        image = files("underpass.xdp").joinpath("flood.bpf.o").read_bytes()
        libbpf_set_print(NULL)
        self.object = bpf_object__open_mem(<const char *>image, len(image), NULL)
        if self.object == NULL:
            raise OSError(errno, f"cannot open the flood's program: {os.strerror(errno)}")
        globals_ = bpf_object__next_map(self.object, NULL)
        while globals_ != NULL and not bpf_map__name(globals_).decode().endswith(".rodata"):
            globals_ = bpf_object__next_map(self.object, globals_)
        if rules:
            bpf_map__set_initial_value(globals_, <const char *>rules, len(rules))
        it = bpf_object__next_program(self.object, NULL)
        while it != NULL:
            bpf_program__set_autoload(it, bpf_program__name(it) == name)
            it = bpf_object__next_program(self.object, it)
        failed = bpf_object__load(self.object)
        if failed:
            raise OSError(-failed, f"the kernel refuses the flood's program: {os.strerror(-failed)}")
        self.program = bpf_program__fd(bpf_object__find_program_by_name(self.object, name))

    def close(self):
        """See flood.pyi."""
        if self.object != NULL:
            bpf_object__close(self.object)
            self.object = NULL

    def __dealloc__(self):
        self.close()


cdef class Flood(Loaded):
    """See flood.pyi."""
    cdef bytes frame
    cdef bpf_test_run_opts options

    def __init__(self, bytes frame not None, uint32_t ifindex, str first not None, uint32_t sources,
                 double packets_per_s=0):
        cdef Rules rules
        if sources < 1 or sources & (sources - 1):
            raise ValueError(f"the number of a flood's sources is a power of two, not {sources}")
        if packets_per_s and not BURST <= packets_per_s <= 1e9:
            raise ValueError(f"a flood has {BURST} to 1e9 packets/s, or 0: as many as can be")
        rules.burst_ns = <uint32_t>(BURST * 1e9 / packets_per_s) if packets_per_s else 0
        rules.ifindex, rules.mask = ifindex, sources - 1
        rules.first = struct.unpack("!I", socket.inet_aton(first))[0]
        rules.ip_sum, rules.tcp_sum = sums_of(frame)
        self.frame = frame
        memcpy(rules.head, <const char *>frame, LEAST)
        self._load(b"flood", (<const char *>&rules)[:sizeof(rules)])
        memset(&self.options, 0, sizeof(self.options))
        self.options.sz = sizeof(self.options)
        self.options.data_in, self.options.data_size_in = <const char *>self.frame, <uint32_t>len(self.frame)
        self.options.flags = BPF_F_TEST_XDP_LIVE_FRAMES
        self.options.batch_size = BATCH

    def send(self, uint32_t runs=RUNS):
        """See flood.pyi."""
        cdef int failed
        if self.object == NULL:
            raise OSError(errors.EBADF, "the flood has been closed")
        self.options.repeat = runs
        with nogil:
            failed = bpf_prog_test_run_opts(self.program, &self.options)
        if failed and failed != -errors.EINTR:
            raise OSError(-failed, f"the kernel does not send the flood: {os.strerror(-failed)}")


cdef class BareDrop(Loaded):
    """See flood.pyi."""
    cdef int link

    def __cinit__(self):
        self.link = -1

    def __init__(self, uint32_t ifindex):
        cdef bpf_link_create_opts options
        self._load(b"drop", b"")
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.flags = XDP_FLAGS_DRV_MODE
        self.link = bpf_link_create(self.program, ifindex, BPF_XDP, &options)
        if self.link < 0:
            raise OSError(errno, f"cannot attach to interface {ifindex}: {os.strerror(errno)}")

    def close(self):
        """See flood.pyi."""
        if self.link >= 0:
            close_fd(self.link)
            self.link = -1
        Loaded.close(self)
