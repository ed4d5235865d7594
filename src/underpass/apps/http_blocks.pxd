"""Blocks of memory for what does not fit the common case: a request that spans frames, a response's head that
does not fit into the send queue at once. There is a fixed number of them; idle connections have none.
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.apps.http_request cimport HEAD_LIMIT, Request

cdef enum:
    NO_BLOCK = 0xFFFFFFFF
    LOG_ROOM = 1024             # for the line that is logged when the response has been sent

cdef struct Block:
    Request request             # gathering: how far it was parsed
    uint32_t count              # octets gathered, or of the head
    uint32_t sent               # of the head
    uint32_t log_count
    uint32_t spare
    uint8_t[LOG_ROOM] log
    uint8_t[HEAD_LIMIT] octets

cdef struct BlockOwner:
    uint32_t conn
    uint32_t newer              # in the list of gathering blocks; or next in the free list
    uint32_t older
    bint gathering

cdef struct Blocks:
    Block *blocks
    BlockOwner *owners
    uint32_t capacity
    uint32_t free
    uint32_t fresh              # first block that was never used
    uint32_t used
    uint32_t oldest             # of those that gather
    uint32_t newest

# A block, or NO_BLOCK. One that gathers a request can be taken away again: see blocks_oldest.
cdef uint32_t block_take(Blocks *blocks, uint32_t conn, bint gathering) noexcept nogil
cdef void block_release(Blocks *blocks, uint32_t block) noexcept nogil
# The connection that has been gathering its request for longest, or NO_BLOCK.
cdef uint32_t blocks_oldest(const Blocks *blocks) noexcept nogil
# All blocks are free.
cdef void blocks_begin(Blocks *blocks) noexcept nogil
# Another process had this block for the connection: take it out of the free ones. False: somebody has it already.
cdef bint blocks_claim(Blocks *blocks, uint32_t block, uint32_t conn, bint gathering) noexcept nogil
