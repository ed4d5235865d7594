"""ICMP errors and connections."""
from libc.errno cimport ETIMEDOUT
from libc.stdint cimport uint32_t

from underpass.tcp.block cimport block_touch
from underpass.tcp.demux cimport DEMUX_NONE, TIME_WAIT_TAG, demux_find, demux_hash
from underpass.tcp.ending cimport ending_gone
from underpass.tcp.path cimport path_too_big
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.tcb cimport CONN_ACTIVE, EVENT_TROUBLE, NO_CONN, SYN_RECEIVED, SYN_SENT, Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_REPORTS, TRAIT_SOFT_ERROR
from underpass.wire.icmp cimport ICMP_REFUSED, ICMP_TOO_BIG, ICMP_UNREACHABLE
from underpass.wire.seq cimport seq_within


cdef uint32_t connection_of(const Tcp *tcp, const IcmpError *error) noexcept nogil:
    cdef uint32_t hash = demux_hash(tcp, &error.local, error.local_port, &error.remote, error.remote_port)
    cdef uint32_t found = demux_find(tcp, hash, &error.local, error.local_port, &error.remote, error.remote_port)
    return NO_CONN if found == DEMUX_NONE or found & TIME_WAIT_TAG else found - 1


cdef inline bint ends_handshake(const Tcb *tcb, const IcmpError *error) noexcept nogil:
    if tcb.state == SYN_SENT:
        return error.kind == ICMP_REFUSED or error.kind == ICMP_UNREACHABLE
    return tcb.state == SYN_RECEIVED and error.kind == ICMP_REFUSED


cdef void remember(Tcp *tcp, uint32_t conn, int error) noexcept nogil:
    cdef TcbRare *rare = rare_of(tcp, conn)
    tcp.state.counters.icmp_soft += 1
    tcp.tcbs[conn].traits |= TRAIT_SOFT_ERROR
    rare.soft_error = error
    rare.soft_error_ns = tcp.now_ns
    errors_report(tcp, conn)


cdef void errors_arrive(Tcp *tcp, const IcmpError *error) noexcept nogil:
    cdef uint32_t conn = connection_of(tcp, error)
    cdef Tcb *tcb
    tcp.state.counters.icmp_in += 1
    if conn == NO_CONN:
        tcp.state.counters.icmp_no_connection += 1
        return
    tcb = &tcp.tcbs[conn]
    if not seq_within(error.seq, tcb.snd_una, tcb.snd_nxt - tcb.snd_una):
        tcp.state.counters.icmp_out_of_window += 1      # RFC 5927 4.1: SND.UNA =< SEG.SEQ < SND.NXT
    elif error.kind == ICMP_TOO_BIG:
        path_too_big(tcp, conn, error)
    elif ends_handshake(tcb, error):
        tcp.state.counters.icmp_hard += 1
        if tcb.flags & CONN_ACTIVE:
            tcp.state.counters.connect_failures += 1
        ending_gone(tcp, conn, error.error)
    else:
        remember(tcp, conn, error.error)


cdef void errors_report(Tcp *tcp, uint32_t conn) noexcept nogil:
    if tcp.tcbs[conn].traits & TRAIT_REPORTS:
        tcp.tcbs[conn].events |= EVENT_TROUBLE
        block_touch(tcp, conn)


cdef int errors_reason(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef TcbRare *rare
    if not tcp.tcbs[conn].traits & TRAIT_SOFT_ERROR:
        return ETIMEDOUT
    rare = rare_of(tcp, conn)
    return rare.soft_error if rare.soft_error_ns >= tcp.colds[conn].heard_ns else ETIMEDOUT
