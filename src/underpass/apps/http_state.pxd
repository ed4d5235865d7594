"""The state of the HTTP server, and of each of its connections.

    accepted -> IDLE -> (HEAD) -> IDLE -> ... -> LINGER -> gone        HEAD: part of a request is here
                  `-> SENDING -'                                       SENDING: the send queue is full

Requests are answered in order, one at a time: while a response waits for room, the requests behind it stay in
the receive queue, whose window then closes. A connection's state is 64 octets, at the connection's own index.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from underpass.apps.access_log cimport LogRing
from underpass.apps.file_cache cimport Cache, NamedFile
from underpass.apps.http_blocks cimport LOG_ROOM, Blocks
from underpass.apps.http_date cimport DATE_OCTETS, LOG_DATE_OCTETS
from underpass.apps.http_path cimport PATH_OCTETS
from underpass.apps.http_response cimport RESPONSE_ROOM

cdef enum:
    STAGE = 131072              # small enough to stay in the second-level cache until it is copied

cdef enum HttpState:
    HTTP_GONE = 0
    HTTP_IDLE = 1
    HTTP_HEAD = 2               # part of a request's head, or a request's body to be thrown away, is awaited
    HTTP_SENDING = 3
    HTTP_LINGER = 4             # all is sent; input is thrown away until the peer closes too (RFC 9112 9.6)

cdef enum HttpFlags:
    HTTP_CLOSES = 1             # after this response
    HTTP_LINGERS = 2            # and the peer may not know yet

cdef struct HttpConn:           # 64 octets
    uint64_t since_ns           # in this state; SENDING: the last progress
    uint64_t began_ns           # when the first octets of the request in work came
    uint64_t offset             # of the file: the next octet to send
    uint64_t end
    uint64_t body               # octets that the response was to have
    uint64_t skip               # octets of the request's body still to come
    uint32_t entry              # of the file cache; pinned while SENDING
    uint32_t block
    uint32_t requests
    uint8_t state
    uint8_t flags
    uint16_t status

cdef struct HttpCounters:
    uint64_t connections
    uint64_t requests
    uint64_t responses_2xx
    uint64_t responses_3xx
    uint64_t responses_4xx
    uint64_t responses_5xx
    uint64_t body_bytes
    uint64_t malformed          # requests that the parser refused
    uint64_t gathered           # requests that did not lie in one frame
    uint64_t deferred           # responses that did not fit into the send queue at once
    uint64_t header_timeouts
    uint64_t idle_timeouts
    uint64_t send_timeouts
    uint64_t linger_timeouts
    uint64_t no_block           # connections given up since all blocks were in use
    uint64_t truncated          # transfers given up since the file had become shorter
    uint64_t resets             # connections that ended by reset or timeout of TCP

cdef struct HttpLimits:
    uint64_t header_ns          # from a request's first octet, or the connection's start, to its last
    uint64_t idle_ns            # between two requests
    uint64_t send_ns            # without progress
    uint64_t linger_ns
    uint64_t skip_octets        # of a request's body that are thrown away; longer ones end the connection
    uint32_t requests           # a connection; 0: any number

cdef struct Http:
    HttpConn *conns             # by connection index
    uint32_t capacity
    uint32_t high               # no connection of ours has an index from here on
    uint32_t open
    bint draining               # every response is the last of its connection
    Cache *cache
    LogRing *log                # NULL: none
    Blocks blocks
    HttpLimits limits
    HttpCounters *counters
    NamedFile *files            # by entry of the cache: what is in transfer
    int64_t wall_ns             # time since 1970 less the stack's time
    int64_t now_s               # the second that `date` says
    uint64_t second_ends_ns
    uint64_t sweep_ns           # when timeouts are next looked for
    uint8_t[DATE_OCTETS] date
    uint8_t[LOG_DATE_OCTETS] log_date
    uint8_t[PATH_OCTETS] key    # the path in work, where it had to be decoded
    uint8_t[RESPONSE_ROOM] head # of the response in work, where it is not the file's own
    uint8_t[LOG_ROOM] line      # of the log, for the request in work
    uint32_t line_count
    uint8_t *stage              # STAGE octets: what one read of a file brings for many segments

cdef struct Output:             # octets of a response still to be copied; the file's are in HttpConn
    const uint8_t *head
    uint32_t count
    const uint8_t *staged       # of the file, read and not yet copied; good within one call only
    uint32_t staged_count
