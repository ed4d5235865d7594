"""What ICMP errors do to connections (RFC 9293 3.9.2.2, RFC 1122 4.2.3.9), with the checks of RFC 5927.

An error comes from anyone, so it counts only where it quotes a segment in flight. Even then it never ends a connection
that is synchronized: what it says is remembered, for the time when the connection gives up by itself (RFC 5927 5.2).

| error                        | SYN-SENT            | SYN-RECEIVED     | later                        |
|------------------------------|---------------------|------------------|------------------------------|
| too big                      | smaller segments, at once, in all states                               |
| refused (hard)               | ends with its errno | ends silently    | remembered                   |
| unreachable                  | ends with its errno | remembered       | remembered                   |
| time exceeded, bad parameter | remembered in all states                                               |
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.icmp cimport IcmpError

cdef void errors_arrive(Tcp *tcp, const IcmpError *error) noexcept nogil
# The errno for a connection that nobody answers any more: what ICMP said since the peer was last heard, else
# ETIMEDOUT.
cdef int errors_reason(Tcp *tcp, uint32_t conn) noexcept nogil
# Tell the application of trouble that does not end the connection yet, if it asked (RFC 9293 3.9.1.8, 3.8.3).
cdef void errors_report(Tcp *tcp, uint32_t conn) noexcept nogil
