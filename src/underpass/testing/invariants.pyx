"""What holds of a stack after each of its turns. Every rule is a sentence that is true; a broken one is returned."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME
from underpass.stack.stack cimport Stack
from underpass.tcp.cookie_jar cimport COOKIE_FITS, COOKIE_MIN, MAX_COOKIE_PEERS, CookiePeer
from underpass.tcp.sound cimport (
    sound_fast_open, sound_fields, sound_numbers, sound_receiving, sound_sending, sound_waits_for_data,
)
from underpass.tcp.tcb cimport (
    CLOSED, CONN_COUNTED_HALF_OPEN, CONN_HELD, CONN_ORPHAN, CONN_STARVED, CONN_TOUCHED, LAST_ACK, MAX_LISTENERS, NO_CONN,
    SYN_RECEIVED, TIME_WAIT, Tcb, Tcp,
)
from underpass.tcp.traits cimport TRAIT_FAST_OPEN_PENDING

cdef struct Sums:                   # over all connections
    uint32_t used
    uint32_t in_table
    uint32_t half_open
    uint32_t fast_open
    uint32_t starved
    uint32_t orphans
    uint64_t frames


cdef const char *broken_invariant(Tcp *tcp, unsigned int *conn) noexcept nogil:
    cdef Sums sums
    cdef const char *wrong
    cdef uint32_t i
    sums.used = sums.in_table = sums.half_open = sums.fast_open = sums.starved = sums.orphans = 0
    sums.frames = 0
    for i in range(tcp.state.tcb_fresh):
        wrong = broken_in_connection(tcp, i, &sums)
        if wrong != NULL:
            conn[0] = i
            return wrong
    conn[0] = NO_CONN
    return broken_in_sums(tcp, &sums)


cdef uint32_t fast_open_pending(const Tcp *tcp) noexcept nogil:
    cdef uint32_t total = 0
    cdef uint32_t i
    for i in range(MAX_LISTENERS):
        total += tcp.state.listeners[i].fast_open_pending
    return total


cdef const char *broken_in_cookies(const Tcp *tcp) noexcept nogil:
    """RFC 7413 4.1.1: what a SYN of ours may show."""
    cdef const CookiePeer *it
    cdef uint32_t i
    for i in range(MAX_COOKIE_PEERS):
        it = &tcp.state.fast_open_cookies.peers[i]
        if it.length and not (it.used_ns and COOKIE_MIN <= it.length <= COOKIE_FITS and it.length % 2 == 0):
            return b"a cookie that is kept has an even length that fits a SYN"
    return NULL


cdef const char *broken_in_sums(const Tcp *tcp, const Sums *sums) noexcept nogil:
    if tcp.touched != NO_CONN:
        return b"no connection waits to be attended to after a turn"
    if tcp.reserved != NO_FRAME:
        return b"no frame is reserved after a turn"
    if sums.used != tcp.state.tcb_used:
        return b"connection blocks in use are counted"
    if sums.half_open != tcp.state.half_open:
        return b"half-open connections are counted"
    if sums.fast_open != fast_open_pending(tcp):
        return b"listeners count what they serve by Fast Open before the handshake ends"
    if sums.starved != tcp.starved:
        return b"connections that wait for a frame are counted"
    if sums.orphans != tcp.state.orphans:
        return b"connections that their application has closed are counted"
    if tcp.state.demux_used != sums.in_table + tcp.state.time_wait_used:
        return b"the demultiplexer knows every connection and TIME_WAIT entry, and nothing else"
    if tcp.tx.head == tcp.tx.tail and sums.frames != tcp.pool.state.count - tcp.pool.state.free:
        return b"every frame is free or in a queue where the device holds none"
    return broken_in_cookies(tcp)


cdef const char *broken_in_connection(Tcp *tcp, uint32_t conn, Sums *sums) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const char *wrong
    if tcb.state == CLOSED and not tcb.flags & CONN_HELD:
        return NULL
    sums.used += 1
    sums.in_table += tcb.state != CLOSED and tcb.state != TIME_WAIT
    sums.half_open += (tcb.flags & CONN_COUNTED_HALF_OPEN) != 0
    sums.fast_open += tcb.state == SYN_RECEIVED and tcb.traits & TRAIT_FAST_OPEN_PENDING != 0
    sums.starved += (tcb.flags & CONN_STARVED) != 0
    sums.orphans += (tcb.flags & CONN_ORPHAN) != 0 and tcb.state != CLOSED and tcb.state != TIME_WAIT
    if tcb.flags & CONN_TOUCHED:
        return b"a connection that was attended to is not marked"
    wrong = sound_receiving(tcp, conn, NULL, &sums.frames)
    if wrong == NULL and tcb.state != CLOSED and tcb.state != TIME_WAIT:
        wrong = sound_fields(tcp, conn)
        if wrong == NULL:
            wrong = sound_numbers(tcb)
        if wrong == NULL:
            wrong = sound_sending(tcp, conn, NULL, &sums.frames)
        if wrong == NULL:
            wrong = sound_fast_open(tcp, conn)
        if wrong == NULL:
            wrong = broken_in_timers(tcp, conn)
    return wrong


cdef const char *broken_in_timers(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t armed = tcp.timers[conn].at_ns
    cdef uint64_t[3] deadlines = [tcb.retransmit_at, tcb.ack_at, tcb.linger_at]
    cdef uint32_t i
    for i in range(3):
        if deadlines[i] and (armed == 0 or armed > deadlines[i]):
            return b"the wheel fires no later than the connection's earliest deadline"
    if tcb.state < LAST_ACK and tcb.snd_una != tcb.snd_nxt and tcb.retransmit_at == 0 and not sound_waits_for_data(tcb):
        return b"the retransmission timer runs while something is unacknowledged"
    return NULL


def is_midway(Stack stack not None):
    """See invariants.pyi."""
    return stack.tcp.state.epoch % 2 == 1


def what_is_broken(Stack stack not None):
    """A sentence that ought to be true of the stack after its turns and is not, with the connection, or None."""
    cdef unsigned int conn = NO_CONN
    cdef const char *wrong = broken_invariant(&stack.tcp, &conn)
    if wrong == NULL:
        return None
    where = "in all" if conn == NO_CONN else f"connection {conn}, state {stack.tcp.tcbs[conn].state}"
    return f"{wrong.decode()} ({where})"
