"""The interpreter of filters, for tests."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.stack.bpf cimport BpfInsn, bpf_check, bpf_run


def check(bytes program not None):
    """Whether a program (struct sock_filter, one after the other) may be run."""
    return bool(bpf_check(<const BpfInsn *><const char *>program, <uint32_t>(len(program) // sizeof(BpfInsn))))


def run(bytes program not None, bytes packet not None, wire_bytes=None):
    """What it accepts of the packet. Raises ValueError for a program that may not be run."""
    if not check(program):
        raise ValueError("this program may not be run")
    return bpf_run(<const BpfInsn *><const char *>program, <const uint8_t *><const char *>packet,
                   len(packet) if wire_bytes is None else wire_bytes, <uint32_t>len(packet))
