"""A packet on the virtual network: its octets in one piece, a time, and its place in a list in order of time.

A parcel belongs to the list that it stands in, or to the function that it was given to.

    | Parcel | octets of the frame ...
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef struct Parcel:
    Parcel *next
    Parcel *prev
    uint64_t due_ns             # when it leaves the queue or comes out of the wire
    uint64_t octets

cdef struct ParcelList:
    Parcel *head
    Parcel *tail
    uint64_t packets
    uint64_t octets


cdef inline uint8_t *parcel_octets(Parcel *parcel) noexcept nogil:
    return <uint8_t *>(parcel + 1)


cdef inline Parcel *parcel_new(uint64_t octets) noexcept nogil:
    """NULL: no memory; the packet is lost then."""
    cdef Parcel *parcel = <Parcel *>malloc(sizeof(Parcel) + octets)
    if parcel != NULL:
        parcel.octets = octets
        parcel.due_ns = 0
        parcel.next = parcel.prev = NULL
    return parcel


cdef inline Parcel *parcel_copy(Parcel *parcel) noexcept nogil:
    cdef Parcel *double = parcel_new(parcel.octets)
    if double != NULL:
        memcpy(parcel_octets(double), parcel_octets(parcel), parcel.octets)
    return double


cdef inline void parcel_insert(ParcelList *into, Parcel *parcel) noexcept nogil:
    """Behind all that are due at the same time or before; looked for from the end, where most belong."""
    cdef Parcel *before = into.tail
    while before != NULL and before.due_ns > parcel.due_ns:
        before = before.prev
    parcel.prev = before
    parcel.next = into.head if before == NULL else before.next
    if parcel.prev == NULL:
        into.head = parcel
    else:
        parcel.prev.next = parcel
    if parcel.next == NULL:
        into.tail = parcel
    else:
        parcel.next.prev = parcel
    into.packets += 1
    into.octets += parcel.octets


cdef inline Parcel *parcel_take(ParcelList *out) noexcept nogil:
    """The first one, which there is."""
    cdef Parcel *parcel = out.head
    out.head = parcel.next
    if out.head == NULL:
        out.tail = NULL
    else:
        out.head.prev = NULL
    out.packets -= 1
    out.octets -= parcel.octets
    parcel.next = NULL
    return parcel


cdef inline void parcel_drop_all(ParcelList *out) noexcept nogil:
    while out.head != NULL:
        free(parcel_take(out))
