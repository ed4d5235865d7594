"""The second flag word of a connection, Tcb.traits: what a mechanism has to remember between segments."""

cdef enum ConnTraits:
    # loss recovery
    TRAIT_REORDERING_TIMER = 0x1    # retransmit_at is the RACK reordering timer (RFC 8985 6.2 step 5)
    TRAIT_PROBE_TIMER = 0x2         # retransmit_at is the PTO (RFC 8985 7.2)
    TRAIT_PROBE_SENT = 0x4          # a loss probe up to TcbRare.tlp_end is outstanding (RFC 8985 7.3)
    TRAIT_REORDERING_SEEN = 0x8     # the path has delivered segments out of order (RFC 8985 6.2 step 3)
    TRAIT_DUPLICATE_DUE = 0x10      # TcbRare.duplicate is to be reported with the next ACK (RFC 2883 4)
    TRAIT_UNDO = 0x20               # TcbRare.undo holds what there was before the last reduction of the window
    TRAIT_FRTO = 0x40               # after a timeout: the next ACKs tell whether it was spurious (RFC 5682)
    TRAIT_SACKED = 0x80             # TcbRare.fack lies beyond SND.UNA: something was reported by SACK
    # congestion control, ECN and pacing
    TRAIT_ECN = 0x100               # both sides echo congestion marks (RFC 3168 6.1.1)
    TRAIT_ECN_ASKED = 0x200         # our SYN offered it
    TRAIT_ECE = 0x400               # acknowledgments carry ECE (RFC 3168 6.1.3, RFC 8257 3.2)
    TRAIT_CWR_DUE = 0x800           # the next new segment says that the window was reduced (RFC 3168 6.1.2)
    TRAIT_CWR = 0x1000              # until TcbRare.cwr_end is acknowledged, marks reduce the window no further
    TRAIT_EXACT_ECN = 0x2000        # the control counts marks: ECE tells the mark of each segment (RFC 8257 3.2)
    TRAIT_RATE = 0x4000             # the control samples the delivery rate, and sets the window by it alone
    TRAIT_PACED = 0x8000            # TcbRare.pacing_rate bounds what leaves: see tcp/pacing.pxd
    # what the application set: see tcp/preset.pxd
    TRAIT_RCV_FIXED = 0x10000       # SO_RCVBUF: Tcb.rcv_limit stays what it is
    TRAIT_SND_FIXED = 0x20000       # SO_SNDBUF: TcbCold.snd_limit stays what it is
    TRAIT_CORK = 0x40000            # TCP_CORK: only full segments leave
    TRAIT_SETTINGS = 0x80000        # TcbRare.settings holds something
    TRAIT_NOTSENT_LOWAT = 0x100000  # of it, notsent_lowat
    TRAIT_WINDOW_CLAMP = 0x200000   # of it, window_clamp
    TRAIT_DEFER_ACCEPT = 0x400000   # accepted once data have come, or at Tcb.linger_at (TCP_DEFER_ACCEPT)
    TRAIT_REPORTS = 0x800000        # it is told of trouble before that ends the connection (IP_RECVERR)
    TRAIT_KEPT = 0xFF0000           # what a connection takes from its listener
    # the path
    TRAIT_PATH = 0x1000000          # its segments are smaller than the route and the peer allow: see tcp/path.pxd
    TRAIT_PATH_PROBE = 0x2000000    # a segment larger than the others is on its way: TcbRare.path_probe
    TRAIT_SOFT_ERROR = 0x4000000    # ICMP told of trouble: TcbRare.soft_error (RFC 9293 3.9.2.2)
    # Fast Open: see tcp/fast_open.pxd
    TRAIT_FAST_OPEN = 0x8000000     # our SYN carries data or asks for a cookie
    TRAIT_FAST_OPEN_PENDING = 0x10000000    # in SYN-RECEIVED: served, and counted so; in SYN-SENT: the SYN waits for data
    TRAIT_FAST_OPEN_GRANT = 0x20000000      # the SYN-ACK brings a cookie
    # urgent data: see tcp/urgent.pxd
    TRAIT_URGENT_IN = 0x40000000    # the application has yet to read up to TcbRare.rcv_up
    TRAIT_URGENT_OUT = 0x80000000   # TcbRare.snd_up is not yet acknowledged
