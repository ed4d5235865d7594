"""The reader of asyncio's streams, compiled where every read passes."""
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_FromStringAndSize

from asyncio import streams

cdef object Reader = streams.StreamReader
cdef object Protocol = streams.StreamReaderProtocol
# What is written again here or in the transport. Who has put something else there is to have that called.
cdef tuple ORIGINALS = (Protocol.data_received, Reader.feed_data, Reader.read, Reader._wait_for_data,
                        Reader._maybe_resume_transport)


cdef bint are_original() except -1:
    return ORIGINALS == (Protocol.data_received, Reader.feed_data, Reader.read, Reader._wait_for_data,
                         Reader._maybe_resume_transport)


cdef bytes first_of(bytearray buffer, Py_ssize_t count):
    """The first octets, so many at the most, which leave the buffer."""
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(buffer)
    cdef bytes octets
    if count < size:
        octets = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer), count)
        del buffer[:count]
    else:
        octets = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer), size)
        PyByteArray_Resize(buffer, 0)
    return octets


cdef object new_waiter(object reader, str caller):
    """A future that whoever feeds the reader sets; as StreamReader._wait_for_data begins."""
    if reader._waiter is not None:
        raise RuntimeError(f"{caller}() called while another coroutine is already waiting for incoming data")
    assert not reader._eof, "_wait_for_data after EOF"
    if reader._paused:
        reader._paused = False
        reader._transport.resume_reading()
    reader._waiter = waiter = reader._loop.create_future()
    return waiter


class StreamReader(Reader):
    """See streams.pyi."""

    async def read(self, n=-1):
        """As asyncio.StreamReader.read."""
        if self._exception is not None:
            raise self._exception
        if n == 0:
            return b""
        if n < 0:
            blocks = []
            while block := await self.read(self._limit):
                blocks.append(block)
            return b"".join(blocks)
        if not self._buffer and not self._eof:
            waiter = new_waiter(self, "read")           # here: a coroutine less
            try:
                await waiter
            finally:
                self._waiter = None
        data = first_of(self._buffer, n)
        if self._paused:
            self._maybe_resume_transport()
        return data

    async def _wait_for_data(self, func_name):
        waiter = new_waiter(self, func_name)
        try:
            await waiter
        finally:
            self._waiter = None


cdef bint take_over(object protocol) except -1:
    """Whether its reader is asyncio's own, and now one of ours."""
    if type(protocol) is not Protocol or not are_original():
        return False
    reader = reader_of(protocol)
    if type(reader) is Reader:
        reader.__class__ = StreamReader
    return type(reader) is StreamReader


cdef object reader_of(object protocol):
    """None: nobody has it any more."""
    reference = protocol._stream_reader_wr
    return None if reference is None else reference()
