"""What a wire does by chance: a generator of its own for each kind of harm, so that raising the rate of one
leaves the others' decisions as they were.
"""
from libc.stdint cimport uint64_t

cdef enum LossKind:
    LOSS_NONE = 0
    LOSS_BERNOULLI = 1          # each packet by itself
    LOSS_GILBERT_ELLIOTT = 2    # two states, each with a rate of its own
    LOSS_BURST = 3              # runs of a fixed length

cdef struct Chance:
    uint64_t random             # splitmix64's state
    uint64_t rate               # of 2^64

cdef struct Loss:
    LossKind kind
    Chance begin                # Bernoulli: the loss; else: the bad state or the burst begins
    Chance end                  # the bad state ends
    Chance good                 # lost in the good state
    Chance bad                  # lost in the bad state
    bint is_bad
    uint64_t run                # packets of a burst
    uint64_t left               # of the present burst


cdef inline uint64_t chance_draw(Chance *it) noexcept nogil:
    """splitmix64 (Steele, Lea and Flood, 2014)."""
    it.random += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = it.random
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline bint chance_strikes(Chance *it) noexcept nogil:
    cdef uint64_t drawn = chance_draw(it)
    return it.rate != 0 and drawn <= it.rate


cdef inline uint64_t chance_below(Chance *it, uint64_t bound) noexcept nogil:
    """0 to bound - 1, near enough to evenly."""
    return chance_draw(it) % bound


cdef bint loss_strikes(Loss *loss) noexcept nogil
# A probability, 0.0 to 1.0, as a fraction of 2^64. Raises ValueError that names it.
cdef uint64_t chance_rate(str name, double value) except? 0xFFFFFFFFFFFFFFFF
# From a number or one of testing/conditions.py's models; the generators' states stay.
cdef int loss_set(Loss *loss, model) except -1
cdef void loss_seed(Loss *loss, uint64_t seed) noexcept nogil
