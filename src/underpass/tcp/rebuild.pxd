"""After a crash: going on with an arena whose process died, wherever it was.

What a connection is stands in its block and in the frames of its queues, and only one connection is changed at a time: the
process notes which, in `TcpState.at_work`, and whether a turn was running, in `epoch`. All else in the arena follows from the
connections: free lists, the table of the demultiplexer, timers, counts. So

    the connection that was at work     cannot be believed: it is reset
    every other one                     is held to the rules of tcp/sound.pyx; where one is broken it is reset as well
    what follows from them              is made anew, whatever stands there
    what only the process knew          segments that waited for the device and events that it was about to tell: the former
                                        are lost, as on a wire, the latter are told once more

The frames that the device holds must be known by then: see xsk_mend.
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcp

# `slots`: of the demultiplexer's table. `forgetful`: the application whose connections cannot go on, for nobody knows what they
# were to it. Returns how many connections were kept, and the reset ones by reason. Raises ValueError for an arena that is
# beyond repair, and MemoryError.
cdef tuple rebuild(Tcp *tcp, uint32_t slots, uint8_t forgetful)
# One more is reset: its application does not know it, or not well enough.
cdef void rebuild_abort(Tcp *tcp, uint32_t conn) noexcept nogil
