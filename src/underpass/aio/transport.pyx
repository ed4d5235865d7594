"""The transport: what asyncio.Transport promises, over a connection of the stack."""
cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from libc.errno cimport EINVAL
from libc.stdint cimport uint8_t, uint32_t

import asyncio
import collections
import os
import socket
from asyncio import constants, transports
from asyncio.log import logger

from underpass.aio.dispatch cimport WRITTEN_WITHIN, Dispatcher, Endpoint
from underpass.aio.streams cimport reader_of, take_over
from underpass.aio.tls cimport TlsRecords
from underpass.stack.sockets cimport take
from underpass.tcp.api cimport (
    tcp_at_end, tcp_readable, tcp_shutdown, tcp_write,
)
from underpass.tcp.tcb cimport (
    CLOSE_WAIT, CLOSED, ESTABLISHED, EVENT_CLOSED, EVENT_READABLE, EVENT_WRITABLE, NO_CONN, TIME_WAIT,
)

from underpass.aio.facade import StackSocket, attached, detached

cdef enum:
    READ_MAX = 262144               # octets of one data_received, as asyncio reads them
    HIGH_WATER = 65536
    WRITE_MAX = 4194304             # octets of one call: others are to be served as well

cdef object LOG_THRESHOLD = constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES


class Facade(transports._FlowControlMixin, transports.Transport):
    """What isinstance() is told that a StackTransport is: a C class cannot inherit from one with slots."""


@cython.no_gc_clear
cdef class StackTransport(Endpoint):
    """See transport.pyi."""

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    def __init__(self, Dispatcher dispatcher not None, loop, uint32_t conn, protocol, *, waiter=None, extra=None,
                 server=None, holder=None, bint mapped=False):
        """Hold the connection, and have `protocol` told of it in the loop's next iteration, `waiter` after that."""
        self._loop = loop
        self.context = PyContext_CopyCurrent()
        self.extra = dict(extra) if extra else None
        self.high, self.low = HIGH_WATER, HIGH_WATER // 4
        self.holder = holder
        self.set_protocol(protocol)
        self.hold(dispatcher, conn, True)
        self.mapped = mapped
        self.server = server
        if server is not None:
            attached(server, self)
        if waiter is not None:
            loop.call_soon(protocol.connection_made, self)
            loop.call_soon(self._start)
            loop.call_soon(asyncio.futures._set_result_unless_cancelled, waiter, None)

    @property
    def __class__(self):
        return Facade

    def __repr__(self):
        state = "closed" if self.conn == NO_CONN else "closing" if self.closing else "open"
        if self.conn == NO_CONN:
            return f"<StackTransport {state}>"
        return f"<StackTransport {state} {self.getsockname()[:2]} - {self.getpeername()[:2]} " \
               f"write buffer {self.backlog_bytes} bytes>"

    def made(self):
        """Tell the protocol at once, within the dispatcher's walk: for accepted connections."""
        PyContext_Enter(self.context)
        try:
            self.protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(error, "Fatal error: protocol.connection_made() call failed.")
        finally:
            PyContext_Exit(self.context)
        self._start()

    def _start(self):
        self.started = True
        if self.conn == NO_CONN:
            return
        state = self.tcp.tcbs[self.conn].state
        if tcp_readable(self.tcp, self.conn) or self.is_at_end():
            self.dispatcher.again(self.conn, EVENT_READABLE)
        if state == CLOSED or state == TIME_WAIT:
            self.dispatcher.again(self.conn, EVENT_CLOSED)

    # -- what happened to the connection

    cdef int happened(self, uint8_t events) except -1:
        if not self.started:
            return 0
        PyContext_Enter(self.context)
        try:
            if events & (EVENT_READABLE | EVENT_CLOSED):
                self.read()
            if events & EVENT_WRITABLE and self.conn != NO_CONN:
                self.flush()
            if events & EVENT_CLOSED and self.conn != NO_CONN:
                self.closed()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(error, "Fatal error on a transport of the stack")
        finally:
            PyContext_Exit(self.context)
        return 0

    cdef int read(self) except -1:
        """One call of the protocol; what remains is for the loop's next iteration."""
        cdef uint32_t count
        if self.reading_paused or self.closing or self.eof_received:
            return 0
        count = tcp_readable(self.tcp, self.conn)
        if count == 0:
            return self.read_end() if self.is_at_end() else 0
        if self.tls is not None:
            self.read_records(min(count, <uint32_t>READ_MAX))
        elif self.buffered:
            self.read_into_buffer(count)
        elif self.streamed:
            self.read_stream(min(count, <uint32_t>READ_MAX))
        else:
            self.read_octets(min(count, <uint32_t>READ_MAX))
        if self.conn != NO_CONN and (tcp_readable(self.tcp, self.conn) or self.is_at_end()):
            self.dispatcher.again(self.conn, EVENT_READABLE)
        return 0

    cdef bint is_at_end(self) noexcept:
        """Whether nothing comes behind what can be read now: the peer has ended, or the program by shutdown(SHUT_RD)."""
        return self.read_shut or tcp_at_end(self.tcp, self.conn)

    cdef int read_octets(self, uint32_t count) except -1:
        cdef bytes octets = PyBytes_FromStringAndSize(NULL, count)
        take(self.tcp, self.conn, <uint8_t *>PyBytes_AS_STRING(octets), count)
        try:
            self.protocol.data_received(octets)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(error, "Fatal error: protocol.data_received() call failed.")
        return 0

    cdef int read_stream(self, uint32_t count) except -1:
        """As StreamReaderProtocol.data_received and StreamReader.feed_data, for whom need no bytes in between."""
        cdef object reader = reader_of(self.protocol)
        if reader is None or reader._eof or reader._transport is not self:
            return self.read_octets(count)
        try:
            self.append(reader._buffer, count)
            waiter = reader._waiter
            if waiter is not None:
                reader._waiter = None
                if not waiter.cancelled():
                    waiter.set_result(None)
            if len(reader._buffer) > 2 * reader._limit and not reader._paused:
                self.pause_reading()
                reader._paused = True
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(error, "Fatal error: protocol.data_received() call failed.")
        return 0

    cdef int append(self, bytearray buffer, uint32_t count) except -1:
        cdef Py_ssize_t end = PyByteArray_GET_SIZE(buffer)
        PyByteArray_Resize(buffer, end + count)
        take(self.tcp, self.conn, <uint8_t *>PyByteArray_AS_STRING(buffer) + end, count)
        return 0

    cdef int read_records(self, uint32_t count) except -1:
        """As read_into_buffer, for whom needs no buffer in between."""
        cdef bytes octets = PyBytes_FromStringAndSize(NULL, count)
        take(self.tcp, self.conn, <uint8_t *>PyBytes_AS_STRING(octets), count)
        try:
            self.tls.fed(octets)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(error, "Fatal error: protocol.buffer_updated() call failed.")
        return 0

    cdef int read_into_buffer(self, uint32_t count) except -1:
        cdef Py_buffer view
        try:
            buffer = self.protocol.get_buffer(count)
            PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
            try:
                if view.len == 0:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                count = <uint32_t>min(<Py_ssize_t>count, view.len)
                if self.conn != NO_CONN:        # get_buffer may have ended it
                    take(self.tcp, self.conn, <uint8_t *>view.buf, count)
            finally:
                PyBuffer_Release(&view)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            return self.fail(error, "Fatal error: protocol.get_buffer() call failed.")
        try:
            self.protocol.buffer_updated(count)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(error, "Fatal error: protocol.buffer_updated() call failed.")
        return 0

    cdef int read_end(self) except -1:
        """The peer sends no more: the end of the stream, or what ended the connection."""
        if self.tcp.colds[self.conn].error:
            return 0                        # `ended` says so
        self.eof_received = True
        try:
            keep_open = self.protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            return self.fail(error, "Fatal error: protocol.eof_received() call failed.")
        if not keep_open:
            self.close()
        return 0

    cdef int closed(self) except -1:
        """The connection is over; the protocol hears of that when it was given what came before, as much as it takes. Who
        waits for room to write hears of it at once.
        """
        if self.backlog_bytes or not self.owes():
            return self.ended()
        if not self.reading_paused:
            self.dispatcher.again(self.conn, EVENT_CLOSED)
        return 0

    cdef bint owes(self) noexcept:
        """Whether octets, or their end, have come that the protocol was not told of."""
        if self.closing or self.eof_received:
            return False
        return tcp_readable(self.tcp, self.conn) != 0 or self.tcp.colds[self.conn].error == 0

    cdef int ended(self) except -1:
        cdef int number = self.tcp.colds[self.conn].error
        if number:
            self.lose(OSError(number, os.strerror(number)), False)
        elif self.eof_received and not self.closing:
            self.lose(None, False)          # both directions have ended in order
        return 0

    # -- reading

    def pause_reading(self):
        """Leave what comes in the stack, whose receive window closes."""
        if not self.closing:
            self.reading_paused = True

    def resume_reading(self):
        """Receive again."""
        if self.closing or not self.reading_paused:
            return
        self.reading_paused = False
        if self.started:
            self._start()

    def is_reading(self):
        """Whether it receives."""
        return not self.closing and not self.reading_paused

    # -- writing

    def write(self, data):
        """Send octets after those written before."""
        if self.may_write() and type(data) is bytes:
            self.write_octets(data)
        elif not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        elif self.may_write():
            self.write_view(data)

    def writelines(self, list_of_data):
        """Send all of them; they leave together."""
        for data in list_of_data:
            self.write(data)

    cdef int may_write(self) except -1:
        """1, or 0 where the connection is over and nothing is sent any more."""
        if self.conn == NO_CONN:
            self.dispatcher.usable()
        if self.eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if self.conn_lost == 0:
            return 1
        if self.conn_lost >= LOG_THRESHOLD:
            logger.warning("socket.send() raised exception.")
        self.conn_lost += 1
        return 0

    cdef Py_ssize_t send(self, const uint8_t *octets, Py_ssize_t count) noexcept:
        """As many as the send queue takes now; where it takes fewer, WRITABLE tells when it takes more."""
        cdef uint8_t state
        if self.backlog_bytes or self.conn == NO_CONN:
            return 0
        state = self.tcp.tcbs[self.conn].state
        if state != ESTABLISHED and state != CLOSE_WAIT:
            return 0
        return self.fill(octets, count)

    cdef Py_ssize_t fill(self, const uint8_t *octets, Py_ssize_t count) noexcept:
        """Into the send queue, with turns in between: what leaves soon is still in the cache, and so are the frames that come
        back where the peer acknowledges at once.
        """
        cdef Py_ssize_t done = 0
        cdef uint32_t part, sent
        while done < count:
            if done >= WRITE_MAX:
                self.dispatcher.again(self.conn, EVENT_WRITABLE)
                break
            part = <uint32_t>min(count - done, <Py_ssize_t>(WRITTEN_WITHIN - self.dispatcher.written))
            sent = tcp_write(self.tcp, self.conn, octets + done, part)
            done += sent
            self.dispatcher.wrote(sent)
            if sent < part:
                break
        return done

    cdef int write_octets(self, object data) except -1:
        cdef Py_ssize_t count = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t sent = self.send(<const uint8_t *>PyBytes_AS_STRING(data), count)
        if sent < count:
            self.keep(memoryview(data)[sent:] if sent else data)
        return 0

    cdef int write_view(self, object data) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t sent, count
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            count = view.len
            sent = self.send(<const uint8_t *>view.buf, count)
        finally:
            PyBuffer_Release(&view)
        if sent < count:
            self.keep(bytes(memoryview(data).cast("B")[sent:]))     # the owner may change it
        return 0

    cdef int keep(self, object rest) except -1:
        if self.backlog is None:
            self.backlog = collections.deque()
        self.backlog.append(rest)
        self.backlog_bytes += len(rest)
        if self.conn != NO_CONN and self.tcp.tcbs[self.conn].state == CLOSED:
            self.dispatcher.again(self.conn, EVENT_CLOSED)
        if self.backlog_bytes > self.high and not self.writing_paused:
            self.pause_protocol()
        return 0

    cdef int flush(self) except -1:
        """The send queue has room again."""
        cdef Py_buffer view
        cdef Py_ssize_t sent, count
        while self.backlog_bytes:
            rest = self.backlog[0]
            PyObject_GetBuffer(rest, &view, PyBUF_SIMPLE)
            count = view.len
            sent = self.fill(<const uint8_t *>view.buf, count)
            PyBuffer_Release(&view)
            self.backlog_bytes -= sent
            if sent < count:
                self.backlog[0] = memoryview(rest)[sent:]
                break
            self.backlog.popleft()
        if self.writing_paused and self.backlog_bytes <= self.low:
            self.resume_protocol()
        if self.backlog_bytes == 0 and self.conn != NO_CONN:
            self.backlog = None
            if self.empty_waiter is not None:
                self.empty_waiter.set_result(None)
            if self.closing:
                self.lose(None, False)
            elif self.eof_written:
                tcp_shutdown(self.tcp, self.conn)
        return 0

    def can_write_eof(self):
        """TCP can."""
        return True

    def write_eof(self):
        """Send no more; receiving goes on."""
        if self.closing or self.eof_written:
            return
        self.eof_written = True
        if self.backlog_bytes == 0 and self.conn != NO_CONN:
            tcp_shutdown(self.tcp, self.conn)

    def shut(self, int how):
        """As socket.shutdown, but that what the stack has not taken yet is sent before the end."""
        self.held()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise OSError(EINVAL, os.strerror(EINVAL))
        if how != socket.SHUT_RD:
            self.write_eof()
        if how != socket.SHUT_WR:
            self.read_shut = True           # `eof_received` comes behind what has come, as of the peer's end
            self.dispatcher.again(self.conn, EVENT_READABLE)

    # -- flow control towards the protocol

    def get_write_buffer_size(self):
        """Octets that the stack has not taken yet."""
        return self.backlog_bytes

    def get_write_buffer_limits(self):
        """(low, high) in octets."""
        return self.low, self.high

    def set_write_buffer_limits(self, high=None, low=None):
        """When the protocol's pause_writing() and resume_writing() are called, in octets."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high, self.low = high, low
        if self.backlog_bytes > self.high and not self.writing_paused:
            self.pause_protocol()

    @property
    def _protocol_paused(self):
        return self.writing_paused

    cdef int pause_protocol(self) except -1:
        self.writing_paused = True
        try:
            self.protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.tell("protocol.pause_writing() failed", error)
        return 0

    cdef int resume_protocol(self) except -1:
        self.writing_paused = False
        try:
            self.protocol.resume_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.tell("protocol.resume_writing() failed", error)
        return 0

    def _make_empty_waiter(self):
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.empty_waiter = self._loop.create_future()
        if self.backlog_bytes == 0:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self):
        self.empty_waiter = None

    # -- the end

    def is_closing(self):
        """Whether close() or abort() was called, or the connection has ended."""
        return self.closing

    def close(self):
        """End it when what was written has been sent."""
        if self.closing:
            return
        self.closing = True
        if self.backlog_bytes == 0:
            self.conn_lost += 1
            self._loop.call_soon(self._call_connection_lost, None)

    def abort(self):
        """End it now; a reset tells the peer where written octets were thrown away."""
        self._force_close(None)

    def _force_close(self, error):
        self.lose(error, self.backlog_bytes != 0)

    def _fatal_error(self, error, message="Fatal error on transport"):
        self.fail(error, message)

    cdef int fail(self, object error, str message) except -1:
        """As asyncio's transports: what the network does is not worth a word, what a protocol does is."""
        if not isinstance(error, OSError):
            self.tell(message, error)
        elif self._loop.get_debug():
            logger.debug("%r: %s", self, message, exc_info=True)
        return self.lose(error, self.backlog_bytes != 0)

    def tell(self, message, error):
        """The loop's exception handler hears of it."""
        self._loop.call_exception_handler({
            "message": message, "exception": error, "transport": self, "protocol": self.protocol})

    cdef void abandon(self) noexcept:
        self.release(self.backlog_bytes != 0)

    cdef int lose(self, object error, bint reset) except -1:
        if self.conn_lost:
            return 0
        self.lossy |= reset
        if self.backlog is not None:
            self.backlog = None
            self.backlog_bytes = 0
        self.closing = True
        self.conn_lost += 1
        self._loop.call_soon(self._call_connection_lost, error)
        return 0

    def _call_connection_lost(self, error):
        try:
            if self.protocol is not None:
                self.protocol.connection_lost(error)
        finally:
            if self.conn != NO_CONN:
                self.remember()
            self.release(self.lossy)
            if self.empty_waiter is not None and not self.empty_waiter.done():
                self.empty_waiter.set_exception(ConnectionError("Connection is closed by peer"))
            if self.holder is not None:
                self.holder.close()
            self.protocol = self.tls = self.holder = self.socket = None         # that one refers to us
            server, self.server = self.server, None
            if server is not None:
                detached(server, self)

    # -- what it is

    def get_protocol(self):
        """The protocol."""
        return self.protocol

    def set_protocol(self, protocol):
        """Have another protocol told from now on."""
        self.protocol = protocol
        self.tls = protocol if isinstance(protocol, TlsRecords) else None
        self.buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self.streamed = not self._loop.get_debug() and take_over(protocol)

    def get_extra_info(self, name, default=None):
        """"socket", "sockname", "peername" and what was given."""
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if name == "socket":
            if self.socket is None:
                self.socket = StackSocket(self)
            return self.socket
        if (name == "sockname" or name == "peername") and self.conn != NO_CONN:
            self.remember()
            return self.extra[name]
        return default

    cdef int remember(self) except -1:
        """Both addresses, which a transport tells after its end as well."""
        if self.extra is None:
            self.extra = {}
        self.extra.setdefault("sockname", self.getsockname())
        self.extra.setdefault("peername", self.getpeername())
        return 0
