"""Explicit Congestion Notification (RFC 3168): routers mark what they else would drop.

    SYN       ECE CWR   may we?                     segment  CE   ->  ACK  ECE   again and again, until
    SYN-ACK   ECE       yes                         segment  CWR  <-  (the window was reduced)

New segments with payload leave with ECT(0); SYN, pure ACKs, probes and what is sent again do not (RFC 3168 6.1.4 to
6.1.6). A control that counts marks (DCTCP) has ECE tell of each segment whether it was marked (RFC 8257 3.2).
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_CWR_DUE, TRAIT_ECE, TRAIT_ECN
from underpass.wire.segment cimport ACK, CWR, ECE, Segment
from underpass.wire.seq cimport seq_t

cdef enum EcnPolicy:                # Limits.ecn, by the numbers of Linux' tcp_ecn
    ECN_OFF = 0
    ECN_ASK = 1                     # our SYNs ask for it
    ECN_ACCEPT = 2                  # only where the peer asks

# Whether a connection under that congestion control agrees to ECN where the peer's SYN offers it.
cdef bint ecn_accepts(const Tcp *tcp, uint32_t congestion) noexcept nogil
# ECE and CWR for the SYN or SYN-ACK that is about to leave. A SYN that is sent again does without (RFC 3168 6.1.1.1).
cdef uint8_t ecn_syn_flags(Tcp *tcp, uint32_t conn) noexcept nogil
# What the peer's SYN or SYN-ACK says.
cdef void ecn_take_syn(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil
# The peer's SYN came again: perhaps without ECN, because the first one seemed to be lost for it.
cdef void ecn_take_syn_again(Tcp *tcp, uint32_t conn, const Segment *syn) noexcept nogil
# A segment with payload came on a connection with TRAIT_ECN: was it marked, has the peer reduced its window? To be called
# before its payload is taken.
cdef void ecn_received(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
# An acknowledgment came on a connection with TRAIT_ECN; `octets` were newly acknowledged or sacked. SND.UNA is up to date.
cdef void ecn_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, uint32_t octets) noexcept nogil
# The window was reduced, for whatever reason: marks up to SND.NXT tell nothing new, and the peer hears of it.
cdef void ecn_reduced(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline bint ecn_marks(const Tcb *tcb, seq_t seq, uint32_t payload_bytes) noexcept nogil:
    """Whether a segment leaves with ECT(0): payload that was never sent before (RFC 3168 6.1.5, 6.1.4)."""
    return tcb.traits & TRAIT_ECN != 0 and payload_bytes != 0 and seq == tcb.snd_nxt


cdef inline uint8_t ecn_flags(Tcb *tcb, uint8_t flags, bint marks) noexcept nogil:
    """ECE and CWR for a segment of a connection with TRAIT_ECN; `marks`: as ecn_marks says."""
    cdef uint8_t both = 0
    if tcb.traits & TRAIT_ECE and flags & ACK:
        both |= ECE
    if tcb.traits & TRAIT_CWR_DUE and marks:
        both |= CWR
        tcb.traits &= ~<uint32_t>TRAIT_CWR_DUE
    return both
