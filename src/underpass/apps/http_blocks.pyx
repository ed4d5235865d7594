"""The pool of blocks. Its memory is touched only as far as it was ever needed."""
from libc.stdint cimport uint32_t


cdef void blocks_begin(Blocks *blocks) noexcept nogil:
    blocks.free = blocks.oldest = blocks.newest = NO_BLOCK
    blocks.fresh = blocks.used = 0


cdef bint blocks_claim(Blocks *blocks, uint32_t block, uint32_t conn, bint gathering) noexcept nogil:
    """Those below `fresh` that nobody has claimed lie in the free list, which is short: it is made in these calls alone."""
    cdef uint32_t *link = &blocks.free
    while blocks.fresh <= block:
        blocks.owners[blocks.fresh].newer = blocks.free
        blocks.free = blocks.fresh
        blocks.fresh += 1
    while link[0] != NO_BLOCK and link[0] != block:
        link = &blocks.owners[link[0]].newer
    if link[0] == NO_BLOCK:
        return False
    link[0] = blocks.owners[block].newer
    blocks.used += 1
    blocks.owners[block].conn = conn
    blocks.owners[block].gathering = gathering
    if gathering:
        append(blocks, block)
    return True


cdef uint32_t block_take(Blocks *blocks, uint32_t conn, bint gathering) noexcept nogil:
    """See http_blocks.pxd."""
    cdef uint32_t block = blocks.free
    if block != NO_BLOCK:
        blocks.free = blocks.owners[block].newer
    elif blocks.fresh < blocks.capacity:
        block = blocks.fresh
        blocks.fresh += 1
    else:
        return NO_BLOCK
    blocks.used += 1
    blocks.owners[block].conn = conn
    blocks.owners[block].gathering = gathering
    blocks.blocks[block].count = blocks.blocks[block].sent = blocks.blocks[block].log_count = 0
    if gathering:
        append(blocks, block)
    return block


cdef void append(Blocks *blocks, uint32_t block) noexcept nogil:
    """To the newer end of the list of gathering blocks."""
    blocks.owners[block].newer = NO_BLOCK
    blocks.owners[block].older = blocks.newest
    if blocks.newest != NO_BLOCK:
        blocks.owners[blocks.newest].newer = block
    else:
        blocks.oldest = block
    blocks.newest = block


cdef void unlink(Blocks *blocks, uint32_t block) noexcept nogil:
    cdef uint32_t newer = blocks.owners[block].newer, older = blocks.owners[block].older
    if older != NO_BLOCK:
        blocks.owners[older].newer = newer
    else:
        blocks.oldest = newer
    if newer != NO_BLOCK:
        blocks.owners[newer].older = older
    else:
        blocks.newest = older


cdef void block_release(Blocks *blocks, uint32_t block) noexcept nogil:
    """See http_blocks.pxd."""
    if blocks.owners[block].gathering:
        unlink(blocks, block)
    blocks.owners[block].newer = blocks.free
    blocks.free = block
    blocks.used -= 1


cdef uint32_t blocks_oldest(const Blocks *blocks) noexcept nogil:
    """See http_blocks.pxd."""
    return blocks.owners[blocks.oldest].conn if blocks.oldest != NO_BLOCK else <uint32_t>NO_BLOCK
