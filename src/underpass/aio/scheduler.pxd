"""What the loop calls, and when: the ready queue, the timers and the iteration of asyncio.BaseEventLoop, compiled.

    call_soon --> _ready ------------------------------.
    call_at   --> _scheduled, a heap --when it is due--> handles of this iteration, one after the other
    poller    --> dispatcher: what happened to connections; descriptors that are ready: asyncio's own handles

The fields are BaseEventLoop's own, by its names, so that all of asyncio's code finds them. In debug mode asyncio's code is used.
"""
from underpass.aio.dispatch cimport Dispatcher
from underpass.aio.handles cimport StackTimerHandle
from underpass.aio.poller cimport Poller


cdef class Scheduler:
    cdef public object _ready               # a deque of handles, ours and asyncio's
    cdef public list _scheduled             # a heap of timer handles
    cdef public Py_ssize_t _timer_cancelled_count
    cdef public double _clock_resolution    # s
    cdef public object _task_factory
    cdef public bint _stopping
    cdef public bint _closed
    cdef public bint _debug
    cdef Dispatcher dispatcher
    cdef Poller poller

    cdef object add_timer(self, StackTimerHandle timer)
    cdef int drop_cancelled(self) except -1
    cdef int wait(self) except -1
    cdef int take_due(self) except -1
    cdef int run_ready(self) except -1
