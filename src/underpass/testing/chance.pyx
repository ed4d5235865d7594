"""Models of loss: which packets a wire loses."""
from libc.stdint cimport uint64_t

from underpass.testing.conditions import Burst, GilbertElliott


cdef bint loss_strikes(Loss *loss) noexcept nogil:
    """Whether the next packet is lost."""
    if loss.kind == LOSS_BERNOULLI:
        return chance_strikes(&loss.begin)
    if loss.kind == LOSS_GILBERT_ELLIOTT:
        loss.is_bad = not chance_strikes(&loss.end) if loss.is_bad else chance_strikes(&loss.begin)
        return chance_strikes(&loss.bad if loss.is_bad else &loss.good)
    if loss.kind == LOSS_BURST:
        if loss.left == 0 and chance_strikes(&loss.begin):
            loss.left = loss.run
        if loss.left:
            loss.left -= 1
            return True
    return False


cdef uint64_t chance_rate(str name, double value) except? 0xFFFFFFFFFFFFFFFF:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is a probability, 0.0 to 1.0, not {value}")
    return min(int(value * 2.0 ** 64), 2 ** 64 - 1)


cdef int loss_set(Loss *loss, model) except -1:
    loss.kind = LOSS_NONE
    loss.is_bad = False
    loss.left = 0
    if isinstance(model, GilbertElliott):
        loss.begin.rate = chance_rate("to_bad", model.to_bad)
        loss.end.rate = chance_rate("to_good", model.to_good)
        loss.bad.rate = chance_rate("lost_in_bad", model.lost_in_bad)
        loss.good.rate = chance_rate("lost_in_good", model.lost_in_good)
        loss.kind = LOSS_GILBERT_ELLIOTT
    elif isinstance(model, Burst):
        if model.packets < 1:
            raise ValueError(f"a burst has at least one packet, not {model.packets}")
        loss.begin.rate = chance_rate("begin", model.begin)
        loss.run = model.packets
        loss.kind = LOSS_BURST
    elif model:
        loss.begin.rate = chance_rate("loss", model)
        loss.kind = LOSS_BERNOULLI
    return 0


cdef void loss_seed(Loss *loss, uint64_t seed) noexcept nogil:
    cdef Chance source = Chance(seed, 0)
    loss.begin.random = chance_draw(&source)
    loss.end.random = chance_draw(&source)
    loss.good.random = chance_draw(&source)
    loss.bad.random = chance_draw(&source)
