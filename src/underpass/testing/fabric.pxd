"""Hosts and routers joined by pipes, and the loop that runs them through virtual time without Python.

A frame goes by its destination's MAC, whose last octet is the number of a node; routers forward by a table
that Python computes. An event is the earliest thing due at any node or pipe; between two events nothing is
done, however much time passes.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from underpass.link.link cimport LinkBase
from underpass.testing.parcel cimport ParcelList
from underpass.testing.pipe cimport PipeState
from underpass.tcp.tcb cimport Tcp

cdef enum:
    MAX_NODES = 255             # numbered from 1, as their addresses
    MAX_PIPES = 2048
    NO_PIPE_NUMBER = 0xFFFF

cdef struct Node:
    uint64_t due_ns             # when its stack next has something to do
    Tcp *tcp                    # NULL: a router
    uint64_t *next_tick_ns
    uint64_t *stepped_ns        # where the arena notes the time of the last step
    const uint32_t *waiting     # events that Python has not seen
    ParcelList inbox
    bint has_port

cdef struct FabricState:
    uint64_t now_ns
    uint32_t node_count         # the highest number in use
    uint32_t pipe_count
    Node[256] nodes
    PipeState *pipes[2048]
    uint64_t[2048] pipe_due_ns
    uint16_t[65536] routes    # [at * 256 + to]: the pipe to take, or NO_PIPE_NUMBER
    uint64_t unroutable         # frames for nobody: their address was damaged
    uint64_t events             # things that happened
    bint is_checked             # hold every stack to its invariants after each turn
    const char *broken          # the first invariant that was broken, or NULL
    uint32_t broken_node


cdef struct PortState:
    FabricState *fabric
    uint32_t number


cdef class Fabric:
    cdef FabricState state
    cdef list kept              # pipes and stacks, which the state points into

    cdef int see_what_is_broken(self) except -1


cdef class Port(LinkBase):
    cdef Fabric fabric
    cdef PortState state
