"""Run the loaded XDP program on frames, without an interface: BPF_PROG_TEST_RUN."""
from libc.stdint cimport uint32_t
from libc.string cimport memset

import os

cdef extern from "<linux/bpf.h>" nogil:
    enum:
        XDP_ABORTED
        XDP_DROP
        XDP_PASS
        XDP_TX
        XDP_REDIRECT

cdef extern from "<bpf/bpf.h>" nogil:
    struct bpf_test_run_opts:
        size_t sz
        const void *data_in
        uint32_t data_size_in
        uint32_t retval
        uint32_t repeat
    int bpf_prog_test_run_opts(int program, bpf_test_run_opts *options)

VERDICTS = {
    XDP_ABORTED: "ABORTED", XDP_DROP: "DROP", XDP_PASS: "PASS", XDP_TX: "TX", XDP_REDIRECT: "REDIRECT",
}


def verdict(program, bytes frame not None):
    """What an XdpProgram does with a frame of at least 14 octets. Raises OSError where it cannot be run."""
    cdef bpf_test_run_opts options
    memset(&options, 0, sizeof(options))
    options.sz = sizeof(options)
    options.data_in = <const char *>frame
    options.data_size_in = len(frame)
    options.repeat = 1
    cdef int failed = bpf_prog_test_run_opts(program.program_fd, &options)
    if failed:
        raise OSError(-failed, f"test run of the XDP program: {os.strerror(-failed)}")
    return VERDICTS[options.retval]
