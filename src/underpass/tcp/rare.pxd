"""What only some connections need: those that lose, reorder, pace, measure their rate or probe their path.

A third block of each connection in the arena, all zero when its use begins. Its memory is touched first by
`rare_of`, so that a connection which never needs it pays nothing for it.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from underpass.tcp.tcb cimport CONN_RARE, Settings, Tcb, Tcp
from underpass.wire.seq cimport seq_t

cdef enum:
    WATCHED = 4

cdef struct Undo:                   # how to take back a reduction of the window
    uint32_t cwnd                   # before it
    uint32_t ssthresh
    uint32_t octets                 # sent again since, and not reported as duplicates
    uint32_t stamp                  # TSval of the first segment sent again; with `stamped`
    seq_t una                       # SND.UNA at that time
    seq_t again                     # behind the highest octet sent again, in this recovery or one before; with `resent`
    uint8_t stamped
    uint8_t timeout                 # the reduction was a timeout's
    uint8_t hold                    # F-RTO has new segments sent, not lost ones (RFC 5682 3.1 step 2 b)
    uint8_t mixed                   # what an earlier recovery sent again may still be on its way
    uint8_t resent
    uint8_t answered                # marks or a loss in the same window of data were answered before
    uint8_t[2] spare

cdef struct Validation:             # of the congestion window: see tcp/validation.pxd
    uint64_t unused_ns              # since when less than half of the window is used; 0: it is not
    uint64_t period_ns              # when the present sampling period began
    uint32_t pipe_ack               # most octets acknowledged in a round trip of this period (RFC 7661 4.2)
    uint32_t pipe_ack_before        # and of the one before
    seq_t start                     # SND.UNA when the sample in work began
    seq_t end                       # it ends when this is acknowledged

cdef struct TcbRare:
    # receiving
    seq_t[8] sack_recent            # start and end of each block, the one that changed last first (RFC 2018 4)
    seq_t[2] duplicate              # octets that came twice, not yet reported (RFC 2883 4)
    uint32_t ooo_tail               # frame that ends the out-of-order list, where there is one
    # reordering (RFC 8985 6.2)
    seq_t fack                      # behind the highest octet delivered; with TRAIT_SACKED
    seq_t dsack_round               # SND.NXT when a duplicate was last reported; with in_dsack_round
    seq_t dsack_start               # of the last of them
    uint8_t reo_steps               # by how much RACK.reo_wnd_mult exceeds 1
    uint8_t reo_persist             # recoveries until the reordering window shrinks again
    uint8_t in_dsack_round
    uint8_t probe_again             # the loss probe was a segment sent before
    uint8_t told_at_once            # segments behind the gap whose acknowledgment waited for nothing, or since then for the others
    uint8_t watched                 # index of the newest of these:
    seq_t[4] watched_seq            # segments sent again, by whose duplicates their lateness is measured
    uint64_t[4] watched_sent_ns     # when each was first sent; 0: none
    uint32_t late_us                # by how much the latest segment came later than those sent after it
    # loss probe (RFC 8985 7.3)
    seq_t tlp_end
    # proportional rate reduction (RFC 6937bis)
    uint32_t prr_delivered
    uint32_t prr_out
    uint32_t recover_flight         # RecoverFS
    Undo undo
    # the path: see tcp/path.pxd
    uint64_t path_search_at         # when a larger segment is tried next
    seq_t path_probe                # of the segment that tries it; with TRAIT_PATH_PROBE
    uint16_t path_probe_mss         # its payload
    uint16_t path_high              # no segment of so many octets has arrived, though it was tried; 0: not known
    uint8_t path_probes             # of this size that were lost
    uint8_t path_searched           # segments became smaller without a word: larger ones are tried by probes
    int32_t soft_error              # errno of the latest
    uint64_t soft_error_ns
    # urgent data (RFC 9293 3.3.1): behind the last urgent octet
    seq_t rcv_up
    seq_t snd_up
    # Fast Open: octets that our latest SYN carries
    uint32_t fast_open_octets
    # ECN: until this is acknowledged, the window has been reduced for what the peer tells (RFC 3168 6.1.2)
    seq_t cwr_end
    uint32_t cwr_spare
    Validation validation
    # pacing: octets a second, nanoseconds
    uint64_t pacing_rate            # 0: not known yet
    uint64_t pacing_limit           # the application's; 0: none
    uint64_t pace_next_ns           # until when what left already lasts at that rate
    # the receive window: see tcp/autosize.pxd
    seq_t rcv_space_start           # RCV.NXT when the measure in work began
    uint32_t rcv_space_ms           # and the time; 0: none has begun
    uint32_t rcv_rtt_ms             # round trip as the receiver sees it; 0: not known
    uint32_t rcv_spare
    # what the application set, where TRAIT_SETTINGS says so
    Settings settings
    # TcbCold.reply_mac as it was, with CONN_STRANDED
    uint8_t[6] stranded_mac
    uint8_t[2] stranded_spare
    # the congestion control's own, zero when it begins
    uint64_t[16] congestion_state


cdef inline TcbRare *rare_of(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The connection's block, in use from now on."""
    cdef TcbRare *rare = <TcbRare *>tcp.rares + conn
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not tcb.flags & CONN_RARE:
        tcb.flags |= CONN_RARE
        memset(rare, 0, sizeof(TcbRare))
    return rare
