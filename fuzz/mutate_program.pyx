"""Mutation of programs (see program.pxd) by whole steps: made, dropped, repeated, moved, or an operand changed.

What libFuzzer does to octets mostly cuts steps in two, and what follows then means something else.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from driver cimport LLVMFuzzerMutate
from program cimport (
    ANY_SEGMENT, APPLICATION, CONNECT_DATA_SHIFT, CONNECT_FAST_OPEN, FAST_OPEN_ANSWER, FAST_OPEN_SYN, ICMP_ERROR, READER,
    RIGHT_SEGMENT, SOCKET_OPTION, TIMES, TIME_PASSES, step_bytes,
)

cdef enum:
    MOST_STEPS = 1024
    LONGEST_STEP = 256              # a repeated raw frame; what is made here has 38 octets at most
    PORTS = 4
    SYN_OPTIONS = 20
    SYN = 2
    ACK = 16
    USUAL_TIMES = 28                # up to two minutes: longer ones end most of what there is

cdef struct Cut:                    # a program in its steps
    uint32_t[1025] at               # MOST_STEPS; behind the last step stands the end
    uint32_t count

cdef const uint8_t *OFFERED = <const uint8_t *>b"\2\4\5\264\4\2\10\12\0\0\0\1\0\0\0\0\1\3\3\7"


cdef inline uint32_t draw(uint64_t *random, uint32_t bound) noexcept nogil:
    random[0] = random[0] * <uint64_t>6364136223846793005 + <uint64_t>1442695040888963407
    return <uint32_t>(random[0] >> 33) % bound


cdef inline uint8_t one_of(uint64_t *random, const char *values, uint32_t count) noexcept nogil:
    return <uint8_t>values[draw(random, count)]


# ------------------------------------------------------------------------------------------ making a step

cdef uint32_t make_segment(uint64_t *random, uint8_t *into) noexcept nogil:
    """Most often one that belongs to the conversation, and nearly right."""
    into[0] = RIGHT_SEGMENT
    into[1] = <uint8_t>draw(random, PORTS)
    into[2] = one_of(random, b"\x10\x10\x10\x18\x18\x11\x02\x12\x04\x14\x38\x50\x90\x00", 14)
    into[3] = one_of(random, b"\0\0\0\0\0\x01\xff\x02\xfd\x40\x7f\x80", 12)
    into[4] = one_of(random, b"\0\0\0\0\0\x01\xff\xfe\xf0\x80", 10)
    into[5] = one_of(random, b"\xff\xff\xff\x40\x08\x01\0", 7)
    into[6] = one_of(random, b"\0\0\0\x01\x10\x80\xff", 7)
    into[7] = <uint8_t>draw(random, 64) if draw(random, 2) else 0
    into[8] = <uint8_t>draw(random, 16)
    into[9] = <uint8_t>draw(random, 16)
    return 10


cdef uint32_t make_opening(uint64_t *random, uint8_t *into) noexcept nogil:
    """A handshake from either side, with all options or none."""
    cdef uint8_t port = <uint8_t>draw(random, PORTS)
    cdef uint32_t options = SYN_OPTIONS if draw(random, 4) else 0
    cdef bint active = draw(random, 3) == 0
    cdef uint32_t at = 0
    if active:
        into[0] = APPLICATION
        into[1] = <uint8_t>(port << 3)
        at = 2
    into[at] = ANY_SEGMENT
    into[at + 1] = port
    into[at + 2] = SYN | ACK if active else SYN
    into[at + 3] = into[at + 4] = 0
    into[at + 5] = 255
    into[at + 6] = <uint8_t>options
    into[at + 7] = 0
    memcpy(into + at + 8, OFFERED, options)
    at += 8 + options
    if not active:
        at += make_segment(random, into + at)
        into[at - 9] = port
        into[at - 8] = ACK
        into[at - 7] = into[at - 6] = into[at - 4] = 0
    return at


cdef uint32_t make_fast_open(uint64_t *random, uint8_t *into) noexcept nogil:
    """A SYN that asks for a cookie or shows one, or our own SYN with data, and its answer."""
    cdef uint8_t port = <uint8_t>draw(random, PORTS)
    cdef uint8_t how = one_of(random, b"\1\2\2\2\2\3\4\5\0", 9) | one_of(random, b"\0\0\0\x08\x10\x40\x80\xf0", 8)
    cdef uint32_t at = 0
    if draw(random, 2):
        into[0] = FAST_OPEN_SYN
        into[1] = port
        into[2] = how
        into[3] = <uint8_t>draw(random, 64)
        return 4
    if draw(random, 4):
        into[0] = APPLICATION
        into[1] = <uint8_t>(port << 3 | CONNECT_FAST_OPEN | draw(random, 4) << CONNECT_DATA_SHIFT)
        at = 2
    into[at] = FAST_OPEN_ANSWER
    into[at + 1] = port
    into[at + 2] = how
    into[at + 3] = one_of(random, b"\0\0\0\0\x9c\xff\1\x64", 8)
    into[at + 4] = <uint8_t>draw(random, 64) if draw(random, 4) == 0 else 0
    return at + 5


cdef uint32_t make_step(uint64_t *random, uint8_t *into) noexcept nogil:
    cdef uint8_t[7] others = [TIME_PASSES, TIME_PASSES, APPLICATION, APPLICATION, READER, SOCKET_OPTION,
                              ICMP_ERROR]
    cdef uint32_t kind = draw(random, 23)
    cdef uint32_t i
    if kind < 10:
        return make_segment(random, into)
    if kind < 13:
        return make_opening(random, into)
    if kind < 16:
        return make_fast_open(random, into)
    into[0] = others[kind - 16]
    for i in range(1, 7):
        into[i] = <uint8_t>draw(random, 256)
    if into[0] == TIME_PASSES:
        into[1] %= USUAL_TIMES if draw(random, 8) else TIMES
    if into[0] == ICMP_ERROR:
        into[2] = one_of(random, b"\x03\x03\x03\x0b\x0c", 5)
        into[3] = one_of(random, b"\x04\x04\x04\x00\x01\x02\x03\x0d", 8)
        into[6] = one_of(random, b"\0\0\x01\xff", 4)
    return step_bytes(into, 7)


# ------------------------------------------------------------------------------------------ programs

cdef void cut_up(const uint8_t *data, uint32_t size, Cut *cut) noexcept nogil:
    cut.count = 0
    cut.at[0] = 0
    cdef uint32_t at = 0
    while at < size and cut.count < MOST_STEPS:
        at += step_bytes(data + at, size - at)
        cut.count += 1
        cut.at[cut.count] = at


cdef uint32_t insert(uint8_t *data, uint32_t size, uint32_t most, uint32_t at, const uint8_t *what,
                     uint32_t bytes) noexcept nogil:
    if size + bytes > most:
        return size
    memmove(data + at + bytes, data + at, size - at)
    memcpy(data + at, what, bytes)
    return size + bytes


cdef uint32_t drop(uint8_t *data, uint32_t size, uint32_t start, uint32_t end) noexcept nogil:
    memmove(data + start, data + end, size - end)
    return size - (end - start)


cdef void change_operand(uint64_t *random, uint8_t *step, uint32_t bytes) noexcept nogil:
    cdef uint32_t at
    if bytes < 2:
        return
    at = 1 + draw(random, bytes - 1)
    if draw(random, 2):
        step[at] += one_of(random, b"\x01\xff\x10\xf0", 4)
    else:
        step[at] = <uint8_t>draw(random, 256)


cdef uint32_t mutate_once(uint64_t *random, uint8_t *data, uint32_t size, uint32_t most) noexcept nogil:
    cdef Cut cut
    cdef uint8_t[256] step          # LONGEST_STEP
    cdef uint32_t what = draw(random, 10)
    cdef uint32_t here, start, bytes
    cut_up(data, size, &cut)
    here = draw(random, cut.count + 1)
    start = cut.at[here]
    if what < 4 or here == cut.count:
        return insert(data, size, most, start, step, make_step(random, step))
    bytes = cut.at[here + 1] - start
    if what == 4:
        return drop(data, size, start, start + bytes)
    if what == 5 and bytes <= LONGEST_STEP:
        memcpy(step, data + start, bytes)
        return insert(data, size, most, cut.at[draw(random, cut.count + 1)], step, bytes)
    if what == 6 and bytes <= LONGEST_STEP:
        memcpy(step, data + start, bytes)
        size = drop(data, size, start, start + bytes)
        cut_up(data, size, &cut)
        return insert(data, size, most, cut.at[draw(random, cut.count + 1)], step, bytes)
    change_operand(random, data + start, bytes)
    return size


cdef size_t mutate_program(uint8_t *data, size_t size, size_t most, unsigned int seed) noexcept nogil:
    """libFuzzer's LLVMFuzzerCustomMutator: one to four changes; now and then its own mutations."""
    cdef uint64_t random = seed
    cdef uint32_t changed = <uint32_t>size
    cdef uint32_t times = 1 + draw(&random, 4)
    if draw(&random, 16) == 0:
        return LLVMFuzzerMutate(data, size, most)
    for _ in range(times):
        changed = mutate_once(&random, data, changed, <uint32_t>most)
    return changed
