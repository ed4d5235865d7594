"""Classic BPF: the programs into which libpcap compiles filter expressions, checked and run.

A program that passes `bpf_check` ends after at most as many steps as it has instructions, whatever the packet: every
jump goes forward and stays inside, the last instruction returns, and no instruction is unknown. A load from beyond the
packet, and a division by zero, refuse the packet.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    BPF_MAX_INSTRUCTIONS = 4096     # BPF_MAXINSNS of Linux

cdef struct BpfInsn:                # struct sock_filter
    uint16_t code
    uint8_t jt
    uint8_t jf
    uint32_t k

# Whether the program may be run.
cdef bint bpf_check(const BpfInsn *program, uint32_t count) noexcept nogil
# How many octets of the packet it accepts; 0 refuses. `wire_bytes`: the packet's length, of which `bytes` are at `packet`.
cdef uint32_t bpf_run(const BpfInsn *program, const uint8_t *packet, uint32_t wire_bytes,
                      uint32_t bytes) noexcept nogil
