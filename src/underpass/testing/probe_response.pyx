"""The load generator's reading of answers, for tests."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.apps.load_response cimport (
    RESPONSE_CLOSE,
    RESPONSE_DONE,
    RESPONSE_MALFORMED,
    Response,
    response_end,
    response_in_body,
    response_start,
    response_take,
)


cdef class ResponseProbe:
    """One answer: feed it octets in any portions, and look."""
    cdef Response response
    cdef bytearray _body

    def __cinit__(self, bint to_head=False):
        self._body = bytearray()
        response_start(&self.response, to_head)

    def feed(self, const uint8_t[:] octets):
        """Take what belongs to this answer; returns how many octets did."""
        cdef uint32_t at = 0
        cdef uint32_t used
        cdef bint body
        while at < octets.shape[0]:
            body = response_in_body(&self.response)
            used = response_take(&self.response, &octets[at], <uint32_t>(octets.shape[0] - at))
            if used == 0:
                break
            if body:
                self._body += bytes(octets[at:at + used])
            at += used
        return at

    def end(self):
        """The peer sends no more."""
        response_end(&self.response)

    @property
    def done(self):
        return self.response.state == RESPONSE_DONE

    @property
    def malformed(self):
        return self.response.state == RESPONSE_MALFORMED

    @property
    def status(self):
        return self.response.status

    @property
    def closes(self):
        return bool(self.response.flags & RESPONSE_CLOSE)

    @property
    def body(self):
        return bytes(self._body)

    @property
    def body_bytes(self):
        return self.response.body_bytes
