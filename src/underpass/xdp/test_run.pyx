"""Run a loaded XDP program on a frame, without an interface: BPF_PROG_TEST_RUN."""
from libc.stdint cimport uint32_t
from libc.string cimport memset

import os

cdef extern from "<bpf/bpf.h>" nogil:
    struct bpf_test_run_opts:
        size_t sz
        const void *data_in
        void *data_out
        uint32_t data_size_in
        uint32_t data_size_out
        uint32_t retval
        uint32_t repeat
        uint32_t duration
    int bpf_prog_test_run_opts(int program, bpf_test_run_opts *options)

cdef enum:
    GROWTH = 256                    # what a program may put in front: the kernel's XDP_PACKET_HEADROOM


def test_run(int program_fd, bytes frame not None, uint32_t repeat=1):
    """The last verdict, a number, the nanoseconds that a run took on average, and the frame as it was left. Raises OSError.

    All runs are over the same octets: what one writes to the frame, the next one reads.
    """
    cdef bpf_test_run_opts options
    cdef bytearray left = bytearray(len(frame) + GROWTH)
    memset(&options, 0, sizeof(options))
    options.sz = sizeof(options)
    options.data_in, options.data_size_in = <const char *>frame, len(frame)
    options.data_out, options.data_size_out = <char *>left, len(left)
    options.repeat = repeat
    cdef int failed = bpf_prog_test_run_opts(program_fd, &options)
    if failed:
        raise OSError(-failed, f"test run of the XDP program: {os.strerror(-failed)}")
    return options.retval, options.duration, bytes(left[:options.data_size_out])
