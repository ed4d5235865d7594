"""Break a stack's state from Python tests, to see that the invariants notice."""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport FRAME_LOST
from underpass.stack.stack cimport Stack
from underpass.tcp.tcb cimport Tcb, Tcp


def spoil(Stack stack not None, uint32_t conn, str what):
    """Make one thing wrong; called again it is right again, where that can be."""
    cdef Tcp *tcp = &stack.tcp
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if what == "gap":
        tcp.pool.frames[tcb.snd_tail].seq ^= 1
    elif what == "tail":
        tcb.snd_tail ^= 1
    elif what == "sent frames":
        tcb.snd_frames ^= 1
    elif what == "received octets":
        tcb.rcv_bytes ^= 1
    elif what == "mark":
        tcp.pool.frames[tcb.snd_head].flags ^= FRAME_LOST
    elif what == "order":
        tcb.snd_una, tcb.snd_nxt = tcb.snd_nxt, tcb.snd_una
    elif what == "window":
        tcb.cwnd ^= 0x80000000
    elif what == "wheel":
        tcp.timers[conn].at_ns ^= <unsigned long long>1 << 62
    elif what == "leak":
        tcp.pool.state.free ^= 1
    elif what == "half open":
        tcp.state.half_open ^= 1
    elif what == "blocks":
        tcp.state.tcb_used ^= 1
    else:
        raise ValueError(f"nothing here is called {what}")
