"""Filters in the syntax of pcap-filter(7), compiled by libpcap: here, in the process that looks, never in a worker."""

from underpass.stack.bpf cimport BpfInsn, bpf_check

cdef extern from "<pcap/pcap.h>":
    struct bpf_insn:
        pass
    struct bpf_program:
        unsigned int bf_len
        bpf_insn *bf_insns
    struct pcap:
        pass
    ctypedef pcap pcap_t
    enum:
        DLT_EN10MB
        PCAP_NETMASK_UNKNOWN
    pcap_t *pcap_open_dead(int linktype, int snaplen)
    int pcap_compile(pcap_t *handle, bpf_program *into, const char *expression, int optimize, unsigned int netmask)
    char *pcap_geterr(pcap_t *handle)
    void pcap_freecode(bpf_program *program)
    void pcap_close(pcap_t *handle)


def compile_filter(str expression not None, int snaplen=262144):
    """A filter in libpcap's syntax as a classic BPF program for Ethernet frames; b"" for an empty one.

    Raises ValueError with what libpcap minds, and for what workers do not run: loops, which `protochain` needs.
    """
    cdef bpf_program program
    cdef bytes octets = expression.encode()
    cdef pcap_t *handle
    if not octets.strip():
        return b""
    handle = pcap_open_dead(DLT_EN10MB, snaplen)
    if handle == NULL:
        raise MemoryError("libpcap")
    try:
        if pcap_compile(handle, &program, octets, 1, PCAP_NETMASK_UNKNOWN) < 0:
            raise ValueError(f"filter {expression!r}: {pcap_geterr(handle).decode(errors='replace')}")
        compiled = (<const char *>program.bf_insns)[:program.bf_len * sizeof(bpf_insn)]
        runs = bpf_check(<const BpfInsn *>program.bf_insns, program.bf_len)
        pcap_freecode(&program)
        if not runs:
            raise ValueError(f"filter {expression!r}: it loops, or is too long; workers run no such filter")
        return compiled
    finally:
        pcap_close(handle)
