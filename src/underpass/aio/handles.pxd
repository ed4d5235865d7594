"""Callbacks that wait for their turn in the event loop: asyncio.Handle and asyncio.TimerHandle, compiled."""


cdef class StackHandle:
    cdef public object _callback
    cdef public tuple _args
    cdef readonly object _context
    cdef readonly object _loop
    cdef public bint _cancelled
    cdef object __weakref__

    # Call it in its context; what it raises goes to the loop's exception handler.
    cdef int call(self) except -1


cdef class StackTimerHandle(StackHandle):
    cdef readonly double _when
    cdef public bint _scheduled     # it lies in the loop's heap


cdef StackHandle make_handle(object loop, object callback, tuple args, object context)
cdef StackTimerHandle make_timer(object loop, double when, object callback, tuple args, object context)
