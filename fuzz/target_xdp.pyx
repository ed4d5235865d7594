"""The XDP program with all of its features, by test runs: one for packets of one buffer, and one for those of several.

The kernel's verifier stands in for sanitizers; what it cannot know is held to here: see underpass.testing.xdp_target. An
input's first two octets say how many zeros lie behind the frame, and whether it is to our MAC.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport abort
from libc.string cimport memcpy

import traceback

from driver cimport LLVMFuzzerMutate, fuzz_mutator, fuzz_target

from underpass.testing.xdp_target import XdpTarget, frame_of, input_of

cdef enum:
    CHECKED = 500                   # inputs, after which the tallies are added up
    MOST = 4096

PROGRAMS = XdpTarget(False), XdpTarget(True)
cdef uint32_t looked = 0


cdef void run(bytes octets) noexcept:
    global looked
    looked += 1
    try:
        for program in PROGRAMS:
            program.look(frame_of(octets, program.longest))
            if looked % CHECKED == 0:
                program.check_tallies()
    except BaseException:
        traceback.print_exc()
        abort()


cdef void look(const uint8_t *data, uint32_t size) noexcept nogil:
    with gil:
        run((<const char *>data)[:size])


cdef size_t put(uint8_t *data, size_t most, unsigned int seed) noexcept:
    cdef bytes octets = input_of(seed, most)
    memcpy(data, <const char *>octets, len(octets))
    return len(octets)


cdef size_t mutate(uint8_t *data, size_t size, size_t most, unsigned int seed) noexcept nogil:
    """As libFuzzer does, or another frame: what the program has run through it cannot see."""
    if seed & 1:
        return LLVMFuzzerMutate(data, size, most)
    with gil:
        return put(data, most, seed)


one = fuzz_target(look)
mutator = fuzz_mutator(mutate)
SEEDS = [input_of(seed, MOST) for seed in range(64)]
