"""One iteration of the loop: wait, tell transports, run what is ready."""
from libc.stdint cimport uint64_t

import heapq
from asyncio import base_events, events, futures, tasks

from underpass.aio.handles cimport StackHandle, StackTimerHandle, make_handle, make_timer
from underpass.link.link cimport NEVER
from underpass.stack.turn cimport monotonic_ns

cdef object Base = base_events.BaseEventLoop
cdef object ThreadSafeHandle = getattr(events, "_ThreadSafeHandle", None)
cdef object heappush = heapq.heappush
cdef object heappop = heapq.heappop

cdef enum:
    SCHEDULED_LEAST = 100           # timers, of which half are cancelled: make the heap anew, as asyncio does

cdef double LONGEST_S = base_events.MAXIMUM_SELECT_TIMEOUT


cdef inline double seconds() noexcept:
    return <double>monotonic_ns() / 1e9


cdef inline double due_at(object timer) except? -1:
    return (<StackTimerHandle>timer)._when if type(timer) is StackTimerHandle else timer._when


cdef class Scheduler:
    """See scheduler.pyi."""

    def watch(self, Dispatcher dispatcher not None, Poller poller not None):
        """Where the loop waits from now on; before, it is asyncio's own."""
        self.dispatcher = dispatcher
        self.poller = poller

    # -- what is to be called

    def call_soon(self, callback, *args, context=None):
        """As BaseEventLoop.call_soon."""
        if self._debug or self._closed:
            return Base.call_soon(self, callback, *args, context=context)
        handle = make_handle(self, callback, args, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        """As BaseEventLoop.call_soon_threadsafe."""
        if self._debug or self._closed:
            return Base.call_soon_threadsafe(self, callback, *args, context=context)
        if ThreadSafeHandle is None:
            handle = make_handle(self, callback, args, context)
        else:           # since 3.14: another thread's cancel() waits for the callback that is running
            handle = ThreadSafeHandle(callback, args, self, context)
        self._ready.append(handle)
        self._write_to_self()
        return handle

    def call_later(self, delay, callback, *args, context=None):
        """As BaseEventLoop.call_later."""
        if self._debug or self._closed or delay is None:
            return Base.call_later(self, delay, callback, *args, context=context)
        return self.add_timer(make_timer(self, seconds() + delay, callback, args, context))

    def call_at(self, when, callback, *args, context=None):
        """As BaseEventLoop.call_at."""
        if self._debug or self._closed or when is None:
            return Base.call_at(self, when, callback, *args, context=context)
        return self.add_timer(make_timer(self, when, callback, args, context))

    cdef object add_timer(self, StackTimerHandle timer):
        heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def _timer_handle_cancelled(self, handle):
        if handle._scheduled:
            self._timer_cancelled_count += 1

    # -- what is asked often

    def time(self):
        """The loop's clock, in seconds: time.monotonic()."""
        return seconds()

    def get_debug(self):
        """Whether debug mode is on."""
        return self._debug

    def is_closed(self):
        """Whether it was closed."""
        return self._closed

    def create_future(self):
        """A future of this loop."""
        return futures.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None, **options):
        """As BaseEventLoop.create_task."""
        if self._debug or self._closed or self._task_factory is not None or options:
            if name is not None:        # since 3.14 a factory gets what was given, and need not take more
                options["name"] = name
            if context is not None:
                options["context"] = context
            return Base.create_task(self, coro, **options)
        if name is None and context is None:
            return tasks.Task(coro, loop=self)
        return tasks.Task(coro, loop=self, name=name, context=context)

    # -- an iteration

    def _run_once(self):
        if self._debug or self.poller is None:
            Base._run_once(self)
            return
        self.drop_cancelled()
        self.wait()
        self.take_due()
        self.run_ready()

    cdef int drop_cancelled(self) except -1:
        if len(self._scheduled) > SCHEDULED_LEAST and 2 * self._timer_cancelled_count > len(self._scheduled):
            kept = []
            for timer in self._scheduled:
                if timer._cancelled:
                    timer._scheduled = False
                else:
                    kept.append(timer)
            heapq.heapify(kept)
            self._scheduled = kept
            self._timer_cancelled_count = 0
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heappop(self._scheduled)._scheduled = False
        return 0

    cdef int wait(self) except -1:
        cdef uint64_t until_ns = NEVER
        cdef double when
        cdef list found
        if self._stopping or len(self._ready):
            until_ns = 0
        elif self._scheduled:
            when = min(due_at(self._scheduled[0]), seconds() + LONGEST_S)
            until_ns = <uint64_t>(when * 1e9) if when > 0 else 0
        found = self.poller.wait_until(until_ns)
        if found:
            self._process_events(self._selector.keys_of(found))
        else:
            self.dispatcher.dispatch()
        return 0

    cdef int take_due(self) except -1:
        cdef double end
        if not self._scheduled:
            return 0
        end = seconds() + self._clock_resolution
        while self._scheduled and due_at(self._scheduled[0]) < end:
            timer = heappop(self._scheduled)
            timer._scheduled = False
            self._ready.append(timer)
        return 0

    cdef int run_ready(self) except -1:
        """What is added meanwhile is for the next iteration."""
        cdef Py_ssize_t count = len(self._ready)
        for _ in range(count):
            handle = self._ready.popleft()
            if isinstance(handle, StackHandle):
                if not (<StackHandle>handle)._cancelled:
                    (<StackHandle>handle).call()
            elif not handle._cancelled:
                handle._run()
            self.dispatcher.breathe()
        return 0
