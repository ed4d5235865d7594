"""Handles without debug mode: no traceback of where they were made, no word on slow ones. With it they are asyncio's own."""
cimport cython
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT

from asyncio import events, format_helpers


@cython.freelist(64)
cdef class StackHandle:
    """What call_soon returns."""

    @property
    def __class__(self):
        return events.Handle

    @property
    def _source_traceback(self):
        return None

    cdef int call(self) except -1:
        cdef object callback = self._callback       # it may cancel itself
        cdef tuple args = self._args
        cdef object raised = None
        PyContext_Enter(self._context)
        try:
            callback(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            raised = error
        finally:
            PyContext_Exit(self._context)
        if raised is not None:              # asyncio's handler enters the context again
            self.tell(raised, callback, args)
        return 0

    def tell(self, error, callback, args):
        """The loop's exception handler hears of it."""
        said = format_helpers._format_callback_source(callback, args)
        self._loop.call_exception_handler({
            "message": f"Exception in callback {said}", "exception": error, "handle": self})

    def _run(self):
        self.call()

    def cancel(self):
        """It will not be called."""
        self._cancelled = True
        self._callback = self._args = None

    def cancelled(self):
        """Whether it was cancelled."""
        return self._cancelled

    def get_context(self):
        """In which it is called."""
        return self._context

    def details(self):
        """What stands in its representation."""
        if self._cancelled:
            return ["cancelled"]
        return [format_helpers._format_callback_source(self._callback, self._args or ())]

    def __repr__(self):
        return f"<Handle {' '.join(self.details())}>"


cdef class StackTimerHandle(StackHandle):
    """What call_later and call_at return."""

    @property
    def __class__(self):
        return events.TimerHandle

    def when(self):
        """By the loop's clock."""
        return self._when

    def cancel(self):
        """It will not be called."""
        if not self._cancelled:
            self._loop._timer_handle_cancelled(self)
        StackHandle.cancel(self)

    def __repr__(self):
        info = self.details()
        info.insert(1 if self._cancelled else 0, f"when={self._when}")
        return f"<TimerHandle {' '.join(info)}>"

    def __hash__(self):
        return hash(self._when)

    def __richcmp__(self, other, int operation):
        cdef double when
        if type(other) is StackTimerHandle:
            when = (<StackTimerHandle>other)._when
        elif isinstance(other, events.TimerHandle):
            when = other._when
        else:
            return NotImplemented
        if operation == Py_LT:
            return self._when < when
        if operation == Py_GT:
            return self._when > when
        same = self._when == when and self._callback == other._callback and self._args == other._args \
            and self._cancelled == other._cancelled
        if operation == Py_LE:
            return self._when < when or same
        if operation == Py_GE:
            return self._when > when or same
        return same if operation == Py_EQ else not same


cdef inline int fill(StackHandle it, object loop, object callback, tuple args, object context) except -1:
    it._loop = loop
    it._callback = callback
    it._args = args
    it._context = PyContext_CopyCurrent() if context is None else context
    return 0


cdef StackHandle make_handle(object loop, object callback, tuple args, object context):
    cdef StackHandle it = StackHandle.__new__(StackHandle)
    fill(it, loop, callback, args, context)
    return it


cdef StackTimerHandle make_timer(object loop, double when, object callback, tuple args, object context):
    cdef StackTimerHandle it = StackTimerHandle.__new__(StackTimerHandle)
    fill(it, loop, callback, args, context)
    it._when = when
    return it
