"""Drive one pipe of the virtual network, and the routers' errors, from Python tests."""
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from underpass.testing.parcel cimport Parcel, parcel_new, parcel_octets
from underpass.testing.pipe cimport Pipe, pipe_offer, pipe_take
from underpass.testing.too_big cimport too_big_new

cdef uint64_t LATER_NS = <uint64_t>1 << 62      # after everything


cdef Parcel *parcel_of(bytes frame) except NULL:
    cdef Parcel *parcel = parcel_new(len(frame))
    if parcel == NULL:
        raise MemoryError(f"a packet of {len(frame)} octets")
    memcpy(parcel_octets(parcel), <const uint8_t *>frame, len(frame))
    return parcel


cdef bytes freed(Parcel *parcel):
    cdef bytes octets = parcel_octets(parcel)[:parcel.octets]
    free(parcel)
    return octets


def carry(Pipe pipe not None, frames):
    """Offer all frames at one instant; what comes out, in order, once all time has passed."""
    cdef Parcel *parcel
    for frame in frames:
        parcel = parcel_of(frame)
        if not pipe_offer(&pipe.state, parcel, 1):
            free(parcel)
    arrived = []
    parcel = pipe_take(&pipe.state, LATER_NS)
    while parcel != NULL:
        arrived.append(freed(parcel))
        parcel = pipe_take(&pipe.state, LATER_NS)
    return arrived


def lost_by(Pipe pipe not None, int packets):
    """Whether each of so many small packets is lost, one after the other."""
    fates = []
    for _ in range(packets):
        before = pipe.state.counters.lost
        carry(pipe, [b"small"])
        fates.append(pipe.state.counters.lost > before)
    return fates


def too_big(bytes packet, uint8_t router, uint64_t mtu):
    """The ICMP error that a router sends about a packet."""
    cdef Parcel *parcel = parcel_of(packet)
    cdef Parcel *error = too_big_new(parcel, router, mtu)
    free(parcel)
    return None if error == NULL else freed(error)
