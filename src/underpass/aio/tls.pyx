"""The hot path of TLS over a transport."""
import ssl
from asyncio import sslproto

cdef object Base = sslproto.SSLProtocol
cdef object AGAIN = sslproto.SSLAgainErrors
cdef object DO_HANDSHAKE = sslproto.SSLProtocolState.DO_HANDSHAKE
cdef object WRAPPED = sslproto.SSLProtocolState.WRAPPED
cdef object FLUSHING = sslproto.SSLProtocolState.FLUSHING
cdef object SHUTDOWN = sslproto.SSLProtocolState.SHUTDOWN
cdef object SSLObject = ssl.SSLObject

cdef enum:
    RECORD_BYTES = 16384            # payload of one record (RFC 8446 5.1), which is what one read gives


cdef class TlsRecords:
    """See tls.pyi."""

    cdef object engine(self):
        """What the SSLObject itself calls, where it is the standard one."""
        if self.known is not self._sslobj:
            self.known = self._sslobj
            self.records = self._sslobj._sslobj if type(self._sslobj) is SSLObject else self._sslobj
        return self.records

    # -- what comes

    cdef int fed(self, bytes octets) except -1:
        self._incoming.write(octets)
        return self.advance()

    def buffer_updated(self, nbytes):
        """As SSLProtocol.buffer_updated."""
        self._incoming.write(self._ssl_buffer_view[:nbytes])
        self.advance()

    cdef int advance(self) except -1:
        if self._state is WRAPPED:
            self._do_read()
        elif self._state is DO_HANDSHAKE:
            self._do_handshake()
        elif self._state is FLUSHING:
            self._do_flush()
        elif self._state is SHUTDOWN:
            self._do_shutdown()
        return 0

    def _do_read(self):
        if self._state is not WRAPPED and self._state is not FLUSHING:
            return
        try:
            if not self._app_reading_paused:
                if self._app_protocol_is_buffer:
                    self._do_read__buffered()
                else:
                    self._do_read__copied()
                if self._write_backlog:
                    self._do_write()
                else:
                    self._process_outgoing()
            self._control_ssl_reading()
        except Exception as error:
            self._fatal_error(error, "Fatal error on SSL protocol")

    cdef bint nothing_left(self) except -1:
        """Whether another read would only say so: by an exception, which costs as much as a small record."""
        return self._incoming.pending == 0 and not self._incoming.eof and self.records.pending() == 0

    def _do_read__copied(self):
        cdef list more = None
        cdef bint ended = False
        cdef object read = self.engine().read
        first = None
        try:
            while True:
                octets = read(RECORD_BYTES)
                if not octets:
                    ended = True
                    break
                if first is None:
                    first = octets
                elif more is None:
                    more = [first, octets]
                else:
                    more.append(octets)
                if self.nothing_left():
                    break
        except AGAIN:
            pass
        if first is not None:
            self._app_protocol.data_received(first if more is None else b"".join(more))
        if ended:                           # close_notify
            self._call_eof_received()
            self._start_shutdown()

    def _do_read__buffered(self):
        """As SSLProtocol's, whose second read into one buffer is lost where that is no memoryview."""
        cdef Py_ssize_t offset = 0
        cdef Py_ssize_t count = 1
        cdef object read = self.engine().read
        cdef object view = memoryview(self._app_protocol_get_buffer(self._incoming.pending))
        cdef Py_ssize_t room = len(view)
        try:
            while count > 0 and offset < room:
                count = read(room - offset, view[offset:])
                offset += count
                if count > 0 and self.nothing_left():
                    break
            else:
                if count > 0:
                    self._loop.call_soon(self._do_read)
        except AGAIN:
            pass
        if offset > 0:
            self._app_protocol_buffer_updated(offset)
        if count == 0:                      # close_notify
            self._call_eof_received()
            self._start_shutdown()

    def _control_ssl_reading(self):
        cdef Py_ssize_t size = self._incoming.pending
        if size >= self._incoming_high_water if not self._ssl_reading_paused else size <= self._incoming_low_water:
            Base._control_ssl_reading(self)

    # -- what leaves

    cdef int put(self, object data) except -1:
        """One piece of the application's, as SSLProtocol._write_appdata takes a list of them."""
        if self._state is not WRAPPED:
            Base._write_appdata(self, (data,))
            return 0
        self._write_backlog.append(data)
        self._write_buffer_size += len(data)
        try:
            self._do_write()
        except Exception as error:
            self._fatal_error(error, "Fatal error on SSL protocol")
        return 0

    def _do_write(self):
        cdef Py_ssize_t length, count
        cdef object write = self.engine().write
        try:
            while self._write_backlog:
                data = self._write_backlog[0]
                length = len(data)
                count = write(data)
                if count < length:
                    self._write_backlog[0] = data[count:]
                    self._write_buffer_size -= count
                else:
                    self._write_backlog.popleft()
                    self._write_buffer_size -= length
        except AGAIN:
            pass
        self._process_outgoing()

    def _process_outgoing(self):
        if not self._ssl_writing_paused and self._outgoing.pending:
            self._transport.write(self._outgoing.read())
        self._control_app_writing()

    def _control_app_writing(self):
        cdef Py_ssize_t size = self._outgoing.pending + self._write_buffer_size
        if size >= self._outgoing_high_water if not self._app_writing_paused else size <= self._outgoing_low_water:
            Base._control_app_writing(self)


class SSLTransport(sslproto._SSLProtocolTransport):
    """What the application has."""

    def write(self, data):
        """Send octets after those written before."""
        protocol = self._ssl_protocol
        if isinstance(protocol, TlsRecords) and type(data) is bytes:
            if data:
                (<TlsRecords>protocol).put(data)
        else:
            sslproto._SSLProtocolTransport.write(self, data)


class TlsProtocol(TlsRecords, sslproto.SSLProtocol):
    """See tls.pyi."""

    def _get_app_transport(self):
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport
