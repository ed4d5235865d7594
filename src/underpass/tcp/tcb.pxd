"""The state of TCP: connection blocks, listeners, TIME_WAIT entries, and the context that all procedures take.

Everything declared `in the arena` lies in fixed pools of shared memory and refers to its like by 32-bit index, never by
address. `Tcp` is one process's view of it: base pointers, the application's callbacks, and the time, which is an argument
of `step` and is never read from a clock here.

Units: sequence points are seq_t, lengths uint32_t octets, times uint64_t nanoseconds on the caller's monotonic clock
unless the name ends in _us or _ms. 0 means 'not set' for a deadline.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from underpass.ip.network cimport Network
from underpass.ip.template cimport HeaderTemplate
from underpass.link.frames cimport FramePool
from underpass.link.handover cimport Handover
from underpass.link.link cimport Desc, Link
from underpass.tcp.cookie_jar cimport CookieTable
from underpass.wire.address cimport Address
from underpass.wire.reason cimport REASONS
from underpass.wire.seq cimport seq_t
from underpass.wire.siphash cimport SipKey

cdef enum:
    NO_CONN = 0xFFFFFFFF
    NO_LISTENER = 0xFFFFFFFF
    MAX_APPS = 16
    MAX_LISTENERS = 256
    LISTENER_BUCKETS = 256
    SACKS_KEPT = 4

# RFC 9293 3.3.2
cdef enum State:
    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10

cdef enum TcbFlags:
    # what the connection agreed on
    CONN_TIMESTAMPS = 0x1           # RFC 7323 3
    CONN_SACK = 0x2                 # RFC 2018 2
    CONN_WINDOW_SCALE = 0x4         # RFC 7323 2
    CONN_RARE = 0x8                 # its TcbRare is in use: see tcp/rare.pxd
    # what the application set
    CONN_NODELAY = 0x10             # Nagle off (RFC 9293 3.7.4)
    CONN_KEEPALIVE = 0x20
    # what is due
    CONN_ACK_NOW = 0x100            # an acknowledgment must go out with this step
    CONN_ACK_DELAYED = 0x200        # one is owed (RFC 9293 3.8.6.3)
    CONN_TOUCHED = 0x400            # stands in the list of connections to attend to in this step
    CONN_WANTS_ROOM = 0x800         # the application was refused room to send; tell it when there is some
    CONN_STARVED = 0x1000           # waits for a free frame
    # the way it is going
    CONN_ACTIVE = 0x2000            # opened by us
    CONN_FIN_QUEUED = 0x4000        # the application sends no more: FIN follows the last octet
    CONN_FIN_SENT = 0x8000
    CONN_FIN_RECEIVED = 0x10000     # the peer sends no more: FIN processed in order
    CONN_ORPHAN = 0x20000           # closed by the application: nobody reads or is told
    CONN_PERSISTING = 0x40000       # the retransmission timer probes a zero window (RFC 9293 3.8.6.1)
    CONN_FAST_RECOVERY = 0x80000    # RFC 6675 5, RFC 6582 3.2
    CONN_RTO_RECOVERY = 0x100000    # after a timeout, until `recover` is acknowledged
    CONN_ANNOUNCED = 0x200000       # the application knows of it
    CONN_SPLICED = 0x400000         # payload frames go to the peer connection
    CONN_CWND_LIMITED = 0x800000    # the window was used up since the last ACK (RFC 7661)
    CONN_FIN_LOST = 0x1000000       # our FIN must be sent again
    CONN_FIN_SEEN = 0x2000000       # the peer's FIN came, at TcbCold.fin_seq, perhaps out of order
    CONN_HELD = 0x4000000           # the application keeps the index after `closed`, until tcp_close
    CONN_COUNTED_HALF_OPEN = 0x8000000  # one of its listener's half-open connections
    CONN_STRANDED = 0x10000000      # its address is not ours any more: see tcp/renumber.pxd
    CONN_COUNTED_SOURCE = 0x20000000    # one of its source's: see tcp/sources.pxd

cdef enum Event:                    # what the application has yet to be told
    EVENT_ACCEPTED = 1
    EVENT_CONNECTED = 2
    EVENT_READABLE = 4              # octets in the receive queue, or the peer's FIN
    EVENT_WRITABLE = 8
    EVENT_CLOSED = 16               # both sides done, or reset, or timed out: see Tcb.error
    EVENT_URGENT = 32               # the peer's urgent pointer moved on: see tcp/urgent.pxd
    EVENT_TROUBLE = 64              # ICMP or retransmissions tell of it, and the application asked (RFC 9293 3.9.1.8)

cdef struct Tcb:                    # in the arena; the part that a segment in flight touches
    # the key
    Address local
    Address remote
    uint16_t local_port
    uint16_t remote_port
    uint32_t hash
    uint8_t state
    uint8_t app                     # index in Tcp.apps
    uint8_t congestion              # index of the congestion control
    uint8_t events                  # Event bits due
    uint32_t generation
    uint32_t flags                  # TcbFlags
    uint32_t touched_next           # list of connections to attend to in this step
    uint64_t user                   # the application's
    # receive sequence space (RFC 9293 3.3.1)
    seq_t rcv_nxt
    seq_t rcv_adv                   # right edge of the window as last advertised: RCV.NXT + RCV.WND
    seq_t rcv_acked                 # the acknowledgment last sent
    uint32_t rcv_head               # frames of payload in order, not yet read
    uint32_t rcv_tail
    uint32_t rcv_bytes              # octets in them
    uint32_t rcv_frames             # frames held, in order or not
    uint32_t ooo_head               # frames of payload out of order, by sequence number
    uint32_t ooo_bytes
    uint32_t ts_recent              # RFC 7323 4.3
    uint8_t rcv_scale
    uint8_t snd_scale
    uint16_t mss                    # octets of payload a segment we send, options taken off
    uint32_t rcv_limit              # octets that may wait for the application
    # send sequence space
    seq_t snd_una
    seq_t snd_nxt
    seq_t snd_end                   # behind the last octet that the application gave
    seq_t snd_wl1
    seq_t snd_wl2
    uint32_t snd_wnd
    uint32_t snd_head               # frames not fully acknowledged, by sequence number
    uint32_t snd_tail
    uint32_t snd_unsent             # first of them that was never sent
    uint32_t snd_frames
    uint32_t cwnd
    uint32_t ssthresh
    uint32_t sacked_bytes           # of SND.UNA..SND.NXT: reported by SACK
    uint32_t lost_bytes             # marked lost
    uint32_t retransmitted_bytes    # marked lost and sent again
    uint32_t neighbour
    uint32_t srtt_us                # smoothed, times 8 (RFC 6298)
    uint32_t rttvar_us              # times 4
    uint64_t retransmit_at
    uint64_t ack_at                 # delayed acknowledgment
    uint64_t linger_at              # handshake, keepalive or FIN_WAIT_2, by state
    uint64_t pace_at                # when the next segment may leave (pacing)
    # RFC 8985 6.1: the segment sent last of all that were delivered
    uint64_t rack_ns                # when it was sent
    seq_t rack_end                  # behind its last octet
    uint32_t rack_rtt_us
    uint32_t traits                 # ConnTraits: see tcp/traits.pxd
    uint32_t rtt_us                 # round trip that the latest ACK of new data measured; 0: it measured none
    uint32_t sent_tick              # when payload last left, in units of 2^20 ns
    uint32_t spare                  # four cache lines in all

cdef struct TcbCold:                # in the arena; the first three cache lines serve every segment, the last few
    HeaderTemplate template
    uint32_t ts_offset              # added to our clock in TSval
    seq_t rcv_space_seq             # RCV.NXT when the receive buffer's size was last judged: see tcp/autosize.pxd
    uint32_t snd_wnd_max            # Max(SND.WND) (RFC 9293 3.8.6.2.1)
    uint32_t snd_limit              # frames that the application may queue
    uint32_t rto_us
    uint32_t rtt_min_us
    uint32_t quick_acks             # acknowledgments still to be sent at once, after the start or a loss
    uint8_t backoff                 # retransmissions of the same segment
    uint8_t dupacks                 # RFC 5681 2
    uint8_t probes                  # keepalive or window probes not answered
    uint8_t syn_options             # options that the peer's SYN carried (OptionSet)
    uint16_t peer_mss
    uint16_t sack_count             # blocks in TcbRare.sack_recent
    int32_t error                   # errno for the application
    uint64_t heard_ns               # last segment that was accepted
    uint64_t since_ns               # when the first unacknowledged segment of a run of timeouts was sent
    uint64_t bytes_sent
    uint64_t bytes_acked
    uint64_t bytes_received
    uint32_t segments_sent
    uint32_t data_sent              # of them, those with payload
    uint32_t segments_received
    uint32_t data_received
    uint32_t sack_hint              # frame before which nothing is left to be sent again
    uint8_t[6] reply_mac            # where the handshake came from, until the neighbour is known
    uint16_t vlan
    # loss, opening, closing
    seq_t iss
    seq_t irs
    seq_t recover                   # RFC 6582
    seq_t fin_seq                   # sequence number of the peer's FIN, once seen
    uint32_t listener
    uint32_t retransmits
    uint32_t timeouts
    uint32_t peer                   # spliced with
    uint32_t user_timeout_ms        # RFC 9293 3.9.1.1, RFC 5482
    uint32_t keep_idle_ms
    uint32_t keep_interval_ms
    uint32_t keep_count
    uint64_t opened_ns
    uint64_t probed_ns              # when the last keepalive probe left
    uint32_t challenged_ms          # when a segment that may be forged was last answered; 0: never
    uint32_t spare                  # four cache lines in all

cdef struct TimerNode:              # in the arena, one for each connection block
    uint64_t at_ns
    uint32_t next
    uint32_t prev

cdef enum SettingFlags:
    SETTING_LINGER = 1              # SO_LINGER is on, with linger_s
    SETTING_NO_FIN_WAIT_2 = 2       # TCP_LINGER2 is negative: no FIN-WAIT-2 once the application let go
    SETTING_MTU_DO = 4              # IP_MTU_DISCOVER is IP_PMTUDISC_DO, which is the same here
    SETTING_FAST_OPEN = 8           # TCP_FASTOPEN_CONNECT

cdef struct Settings:               # the rarer options of a connection; 0 is each one's default
    uint32_t linger_s
    uint32_t linger2_ms
    uint32_t notsent_lowat
    uint32_t window_clamp
    uint32_t defer_accept_ms
    uint16_t mss                    # TCP_MAXSEG
    uint8_t syn_retries
    uint8_t flags                   # SettingFlags
    uint8_t traffic_class           # IP_TOS, IPV6_TCLASS; the two bits of ECN are TCP's own
    uint8_t hop_limit               # IP_TTL, IPV6_UNICAST_HOPS; 0: the usual one
    uint16_t spare

cdef struct Preset:                 # what an application may set: a connection's own, or what it begins with
    uint32_t flags                  # CONN_NODELAY, CONN_KEEPALIVE
    uint32_t traits                 # TRAIT_KEPT
    uint32_t rcv_limit
    uint32_t snd_limit
    uint32_t keep_idle_ms
    uint32_t keep_interval_ms
    uint32_t keep_count
    uint32_t user_timeout_ms
    uint32_t congestion
    uint64_t pacing_limit           # SO_MAX_PACING_RATE; 0: none
    Settings settings

cdef struct Listener:               # in the arena
    Address address                 # any: every address of ours of the family
    uint16_t port
    uint8_t app
    uint8_t used
    uint8_t family                  # 4, 6, or 0 for both
    uint8_t[3] spare
    Preset preset                   # of what it accepts
    uint32_t backlog                # half-open connections; beyond it SYN cookies
    uint32_t half_open
    uint32_t next                   # in its bucket
    uint64_t user
    # Fast Open: see tcp/fast_open.pxd
    uint32_t fast_open              # connections that may be served before their handshake ends; 0: none
    uint32_t fast_open_pending
    uint32_t[2] fast_open_resets    # handshakes of such that were reset, in this minute and the one before
    uint64_t fast_open_minute

cdef struct TimeWait:               # in the arena: what RFC 9293 3.10.7.4 and RFC 6191 need, no more
    Address local
    Address remote
    uint16_t local_port
    uint16_t remote_port
    uint32_t hash
    seq_t snd_nxt
    seq_t rcv_nxt
    uint32_t rcv_wnd
    uint32_t ts_recent
    uint32_t ts_offset
    uint16_t flags                  # CONN_TIMESTAMPS
    uint16_t answered               # when it last answered, in units of 2^26 ns; 0: never
    uint32_t next                   # queue in order of expiry, or free list
    uint32_t prev
    uint64_t expires_ns

cdef struct DemuxSlot:
    uint32_t hash
    uint32_t value                  # 0 empty, else 1 + connection, or TIME_WAIT_TAG + 1 + entry

cdef struct Limits:
    uint32_t connections
    uint32_t half_open              # in all, over all listeners
    uint32_t time_waits
    uint32_t rcv_bytes              # octets that a connection may have waiting
    uint32_t rcv_initial_bytes      # at its start: see tcp/autosize.pxd
    uint32_t snd_frames             # frames that a connection may have queued
    uint32_t snd_initial_frames
    uint32_t ooo_frames             # frames out of order that a connection may hold
    uint32_t time_wait_ms
    uint32_t fin_wait_2_ms
    uint32_t orphans                # connections closed by the application that may still send
    uint32_t orphan_ms              # how long one may wait for a closed window to open
    uint32_t syn_retries            # of our SYNs (RFC 9293 3.8.3: for three minutes at least)
    uint32_t synack_retries
    uint32_t retries
    uint32_t rto_min_us
    uint32_t delayed_ack_us
    uint32_t mss                    # no larger segment is announced or sent
    uint32_t path_mtu_ms            # how long a path's MTU that ICMP told is believed (RFC 8201 4)
    uint32_t mtu_probing            # PathProbing: see tcp/path.pxd
    uint32_t challenge_acks_ps      # RFC 5961 7, in all
    uint32_t ephemeral_first        # source ports of outgoing connections
    uint32_t ephemeral_last
    uint32_t congestion             # index of the congestion control of new connections
    uint32_t ecn                    # EcnPolicy: see tcp/ecn.pxd
    uint32_t idle_restart           # 1: idleness closes the congestion window (RFC 5681 4.1)

cdef struct TcpCounters:            # in the arena; names as in wire/reason.pyx and tcp/counters.pyx
    uint64_t[32] refused            # by Reason
    uint64_t segments_in
    uint64_t segments_out
    uint64_t trains                 # packets that hold several of them, for the link to cut up
    uint64_t payload_in
    uint64_t payload_out
    uint64_t active_opens
    uint64_t passive_opens
    uint64_t connect_failures
    uint64_t resets_in
    uint64_t resets_out
    uint64_t no_listener            # segments for a port nobody listens on
    uint64_t half_open_limit        # SYNs answered by cookies
    uint64_t cookies_sent
    uint64_t cookies_accepted
    uint64_t cookies_refused
    uint64_t cookies_stamped        # cookies sent whose options the timestamp carries
    uint64_t connection_limit       # SYNs dropped: no connection block
    uint64_t frame_limit            # payload dropped: the connection's or the pool's frames are used up
    uint64_t frame_starved          # sends put off for want of a frame
    uint64_t out_of_window          # segments outside the receive window
    uint64_t paws_refused           # RFC 7323 5
    uint64_t ack_refused            # RFC 5961 5
    uint64_t challenge_acks
    uint64_t challenge_limited      # by the budget of all
    uint64_t answer_limited         # not answered: the connection had answered just before
    uint64_t in_window_syn
    uint64_t in_window_reset
    uint64_t out_of_order
    uint64_t ooo_limit
    uint64_t duplicates_in
    uint64_t urgent_in              # segments with an urgent pointer
    uint64_t after_close            # payload for a connection that nobody reads any more
    uint64_t retransmits
    uint64_t fast_retransmits
    uint64_t timeouts
    uint64_t reordering_timeouts    # RFC 8985 6.2 step 5
    uint64_t loss_probes            # RFC 8985 7
    uint64_t loss_probe_repairs     # the probe was the segment that was missing
    uint64_t reordered              # segments delivered after others that were sent later
    uint64_t spurious_retransmits   # sent again for nothing, as the peer reports (RFC 2883)
    uint64_t spurious_recoveries    # taken back
    uint64_t spurious_timeouts      # taken back (RFC 5682, RFC 3522)
    uint64_t duplicates_reported    # to the peer (RFC 2883)
    uint64_t sack_refused           # blocks that lie outside what was sent
    uint64_t sack_reneged           # receivers that dropped what they had reported (RFC 2018 8)
    uint64_t window_probes
    uint64_t keepalives
    uint64_t keepalive_drops
    uint64_t user_timeouts
    uint64_t delayed_acks
    uint64_t deferred_accepts       # handshakes complete whose application waits for data (TCP_DEFER_ACCEPT)
    uint64_t timestamps_missing     # segments without the timestamps that were agreed on
    uint64_t rcv_grown              # receive windows widened because more arrives in a round trip
    uint64_t snd_grown              # send queues widened because the congestion window has grown
    uint64_t orphan_limit           # connections reset at their close: too many wait for their end
    uint64_t orphan_drops           # and those whose peer took nothing any more
    uint64_t time_wait_entered
    uint64_t time_wait_reused
    uint64_t time_wait_limit
    uint64_t partial_checksums      # accepted as CHECKSUM_PARTIAL
    uint64_t icmp_in                # errors that quote a segment to a peer
    uint64_t icmp_no_connection     # of them, those that quote no connection that there is
    uint64_t icmp_out_of_window     # those whose quoted segment is not in flight (RFC 5927 4.1)
    uint64_t icmp_too_big_refused   # an MTU that is no smaller, or smaller than any path's
    uint64_t icmp_soft              # noted, for the time when the connection gives up
    uint64_t icmp_hard              # ended a handshake
    uint64_t path_mtu_lowered       # by ICMP
    uint64_t path_black_holes       # segments made smaller because large ones vanish (RFC 4821 7.7)
    uint64_t path_mtu_raised        # by a probe that arrived, or because what was learned is old
    uint64_t path_probes            # segments sent to find out whether the path takes their size (RFC 4821 7)
    uint64_t path_probes_lost
    uint64_t hystart_exits          # slow starts that ended because round trips grew longer (RFC 9406)
    uint64_t idle_restarts          # windows closed because nothing was sent for a while (RFC 5681 4.1)
    uint64_t window_validations     # windows halved because less was used for minutes (RFC 7661 4.4.3)
    uint64_t ecn_negotiated         # handshakes that agreed on ECN (RFC 3168 6.1.1)
    uint64_t ecn_fallbacks          # SYNs sent again without ECN
    uint64_t ce_marks_in            # segments that came with Congestion Experienced
    uint64_t ecn_reductions         # windows reduced because the peer echoed such marks
    uint64_t fast_open_requests     # SYNs that asked for a cookie (RFC 7413 4.1.2)
    uint64_t fast_open_accepted     # SYNs whose cookie was good: served before the handshake ended
    uint64_t fast_open_refused      # whose cookie was not
    uint64_t fast_open_limit        # whose listener had no more room for such (RFC 7413 5.1)
    uint64_t fast_open_sent         # SYNs of ours that carried data
    uint64_t fast_open_acked        # of them, those whose data the SYN-ACK acknowledged
    uint64_t fast_open_fallbacks    # of them, those that were sent again without
    uint64_t pace_waits             # times that sending waited for the pacing rate
    uint64_t handed_over            # segments given to the worker that has their connection
    uint64_t icmp_handed_over       # and ICMP errors
    uint64_t handover_full          # and lost, because it does not keep up
    uint64_t flows_untold           # connections that other workers do not know of: the table is full there
    uint64_t sources_untold         # connections that are not counted for their source: likewise
    uint64_t ports_steered          # active opens whose source port brings the answers to a queue of ours
    uint64_t answers_elsewhere      # active opens whose answer came by a queue of another worker
    uint64_t recoveries             # processes that died, and others that went on with this arena
    uint64_t recovery_kept          # connections that went on
    uint64_t recovery_aborted       # connections reset, for what there was of them could not be believed
    uint64_t recovery_given_up      # times that all of them were given up, and the process began with none
    uint64_t overload_frames        # times that frames were so few that the XDP program had to refuse more than before
    uint64_t overload_backlog       # that packets waited, because the processor does not keep up
    uint64_t overload_connections   # that connection blocks were so few
    uint64_t overload_strangers     # that so many segments came for no connection
    uint64_t unroutable
    uint64_t no_neighbour           # segments not sent: the MAC is not known

cdef struct TcpState:               # in the arena
    Limits limits
    TcpCounters counters
    SipKey hash_key                 # demultiplexing
    SipKey secret                   # RFC 6528, timestamps' offsets
    SipKey cookie_key
    SipKey fast_open_key
    uint32_t tcb_free               # head of the free list (through Tcb.touched_next)
    uint32_t tcb_fresh
    uint32_t tcb_used
    uint32_t half_open
    uint32_t orphans
    uint32_t time_wait_free
    uint32_t time_wait_fresh
    uint32_t time_wait_used
    uint32_t time_wait_head         # next to expire
    uint32_t time_wait_tail
    uint32_t demux_mask
    uint32_t demux_used
    uint32_t challenge_budget       # left in this second
    uint64_t challenge_second
    uint64_t cookie_pressure_ns     # last time that a cookie was sent: ACKs are tried as cookies for a while after
    uint32_t ephemeral_hint
    uint32_t at_work                # the connection that is being changed; NO_CONN: none, see tcp/rebuild.pxd
    uint64_t epoch                  # odd while a turn runs
    uint32_t[256] listener_buckets
    Listener[256] listeners
    CookieTable fast_open_cookies

cdef struct Tcp

# What a native application gives. Every function may call any procedure of `tcp/api.pxd` on any connection.
# `conn` is an index, good until `closed` returns.
cdef struct App:
    void *self
    void (*accepted)(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
    void (*connected)(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
    void (*readable)(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
    void (*writable)(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
    void (*closed)(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil
    # NULL, or called for EVENT_URGENT and EVENT_TROUBLE.
    void (*noticed)(Tcp *tcp, uint32_t conn, uint8_t events, void *self) noexcept nogil
    # NULL, or called once a turn: the application's own timers. Returns when it next has something to do, or NEVER.
    uint64_t (*tick)(Tcp *tcp, void *self) noexcept nogil

cdef struct TxQueue:                # descriptors on their way to the link; never full: a frame stands in it once
    Desc *ring
    uint32_t mask
    uint32_t head
    uint32_t tail

cdef enum:
    MAX_SERVICES = 64

cdef struct Service:                # an address and port, and who serves it
    Address address                 # any: every one of its family
    uint64_t port
    uint64_t workers                # a bit for each

cdef struct Services:               # in memory that all workers share: see tcp/services.pxd
    uint64_t count
    Service[MAX_SERVICES] them

cdef struct Flows:                  # this process's view of tcp/flows.pxd
    uint64_t *slots                 # NULL: there are no other workers
    uint64_t bucket_mask
    uint8_t *tags                   # one for each slot
    uint32_t worker                 # our number
    const Services *services
    uint64_t *sources               # buckets of sources: see tcp/sources.pxd; NULL: there are none
    uint64_t source_buckets         # behind the first one, which says what is counted
    uint64_t[2] source_kinds        # and what was said there last

cdef struct Train:                  # the packet that may yet grow: see tcp/train.pxd
    uint32_t parts                  # 0: there is none
    uint32_t conn
    uint32_t at                     # in the TxQueue: its first descriptor, and
    uint32_t end                    # the place behind its last one
    seq_t next_seq                  # what follows its last segment
    seq_t ack
    uint32_t payload_bytes          # of each segment
    uint32_t tcp_bytes              # TCP header and all payload
    uint8_t *packet                 # the headers, in the first frame
    uint8_t *header
    bint marked                     # ECT(0)

cdef struct Tcp:                    # this process's view
    uint64_t now_ns
    TcpState *state
    FramePool *pool
    Network *network
    Link *link
    Tcb *tcbs
    TcbCold *colds
    void *rares                     # TcbRare: see tcp/rare.pxd
    void *rates                     # Rate: see tcp/rate.pxd
    void *stamps                    # RateStamp
    TimerNode *timers
    void *wheel
    DemuxSlot *demux
    TimeWait *time_waits
    TxQueue tx
    Train train
    Flows flows
    Handover *handover              # NULL: there are no other workers
    void *steering                  # Steering: see tcp/steering.pxd; NULL: how the device spreads packets is not known
    uint32_t touched                # head of the list of connections to attend to
    uint32_t touched_tail
    uint32_t attended               # connections attended to since the worker began, modulo 2^32
    uint32_t starved                # how many wait for a frame
    uint32_t starved_cursor         # where the search for them goes on
    uint32_t reserved               # frame given by tcp_reserve, or NO_FRAME: room in the queue's tail
    void *tap                       # Tap: see stack/tap.pxd; NULL where nobody looks
    void *trace                     # Trace: see tcp/trace.pxd; NULL where nobody looks
    void *overload                  # Overload: see stack/overload.pxd; NULL: the XDP program lets everything in
    const uint64_t *xdp_cookie_ns   # when the XDP program last sent a cookie of ours; NULL: it sends none
    App[16] apps
