"""Socket options: one row each in a table, with Linux' ranges, rounding and errors.

Most are a number or a bit in Preset, and need no code of their own.
"""
from libc.errno cimport EINVAL, ENOENT, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

import os
import socket
import struct
import sys

from underpass.stack.tcp_info cimport tcp_info_listener, tcp_info_octets
from underpass.tcp.block cimport block_touch
from underpass.tcp.congestion.control cimport CONGESTION_CONTROLS, congestion_control, congestion_named
from underpass.tcp.path cimport path_mtu
from underpass.tcp.preset cimport QUICK_ACKS, preset_read
from underpass.tcp.tcb cimport (
    CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_KEEPALIVE, CONN_NODELAY, NO_CONN, SETTING_FAST_OPEN, SETTING_LINGER, SETTING_MTU_DO,
    SETTING_NO_FIN_WAIT_2, Preset, Settings, Tcp,
)
from underpass.tcp.traits cimport (
    TRAIT_CORK, TRAIT_DEFER_ACCEPT, TRAIT_NOTSENT_LOWAT, TRAIT_RCV_FIXED, TRAIT_REPORTS, TRAIT_SETTINGS,
    TRAIT_SND_FIXED, TRAIT_WINDOW_CLAMP,
)
from underpass.wire.address cimport address_is_v4

ctypedef object (*Getter)(Target *target, const Row *row)
ctypedef int (*Setter)(Target *target, const Row *row, object value) except -1

cdef struct Row:
    int level
    int option
    Getter get
    Setter set                      # NULL: it cannot be set
    size_t word                     # offset in Preset of the number or the bits
    uint32_t unit                   # the number's unit in the option's; or the bit
    int lowest
    int highest

cdef enum:
    MAX_ROWS = 64
    INT_MAX = 2147483647
    FRAME_OCTETS = 1024             # octets of payload that SO_SNDBUF reckons for a frame
    LEAST_SND_FRAMES = 4
    LEAST_RCV_BYTES = 1152          # Linux: half of SOCK_MIN_RCVBUF
    DEFAULT_MSS = 536               # RFC 9293 3.7.1
    LEAST_MSS = 88                  # Linux: TCP_MIN_MSS
    LARGEST_MSS = 32767
    LONGEST_LINGER2_S = 120         # Linux: TCP_FIN_TIMEOUT_MAX
    NAME_BYTES = 16                 # Linux: TCP_CA_NAME_MAX
    RTO_INITIAL_S = 1
    RTO_MAX_S = 120
    ECN_FIELD = 3
    HOP_LIMIT = 64
    SO_MAX_PACING_RATE = 47         # not in Python's socket module, and neither are these
    TCP_FASTOPEN_CONNECT = 30       # likewise
    IP_MTU_DISCOVER = 10
    IP_RECVERR = 11
    IP_MTU = 14
    IPV6_MTU_DISCOVER = 23
    IPV6_MTU = 24
    IPV6_RECVERR = 25
    PMTUDISC_WANT = 1
    PMTUDISC_DO = 2
    PMTUDISC_OMIT = 5

cdef Row[MAX_ROWS] rows
cdef dict index = {}                # (level, option) to its row's number
cdef tuple LEVELS = (socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6)


# ------------------------------------------------------------------------------------------ errors and values

cdef int refuse(int number) except -1:
    raise OSError(number, os.strerror(number))


cdef int as_int(object value) except? -1:
    """The value as setsockopt(2) reads it: an int, or the first four octets of a buffer."""
    if not isinstance(value, int):
        octets = bytes(value)
        if len(octets) < 4:
            refuse(EINVAL)
        return int.from_bytes(octets[:4], sys.byteorder, signed=True)
    if not -INT_MAX - 1 <= value <= INT_MAX:
        raise OverflowError("an option's value is an int of 32 bits")
    return value


cdef int in_range(object value, const Row *row) except? -1:
    cdef int number = as_int(value)
    if not row.lowest <= number <= row.highest:
        refuse(EINVAL)
    return number


cdef inline uint32_t *word_of(Target *target, const Row *row) noexcept:
    return <uint32_t *>(<char *>&target.preset + row.word)


cdef inline Settings *settings_of(Target *target) noexcept:
    """To be written to."""
    target.preset.traits |= TRAIT_SETTINGS
    return &target.preset.settings


# ------------------------------------------------------------------------------------------ numbers and bits

cdef object get_number(Target *target, const Row *row):
    return <int32_t>(word_of(target, row)[0] // row.unit)


cdef int set_number(Target *target, const Row *row, object value) except -1:
    word_of(target, row)[0] = <uint32_t>in_range(value, row) * row.unit
    return 0


cdef object get_bit(Target *target, const Row *row):
    return int((word_of(target, row)[0] & row.unit) != 0)


cdef int set_bit(Target *target, const Row *row, object value) except -1:
    word_of(target, row)[0] &= ~row.unit
    if as_int(value):
        word_of(target, row)[0] |= row.unit
    return 0


cdef object get_constant(Target *target, const Row *row):
    return <int>row.unit


# ------------------------------------------------------------------------------------------ SOL_SOCKET

cdef object get_error(Target *target, const Row *row):
    return 0 if target.conn == NO_CONN else target.tcp.colds[target.conn].error


cdef object get_domain(Target *target, const Row *row):
    return int(socket.AF_INET6 if target.v6 else socket.AF_INET)


cdef object get_listening(Target *target, const Row *row):
    return int(target.listening)


cdef object get_sndbuf(Target *target, const Row *row):
    return 2 * target.preset.snd_limit * FRAME_OCTETS


cdef int set_sndbuf(Target *target, const Row *row, object value) except -1:
    """Linux doubles what is asked for, takes what is negative for much, and bounds it without a word."""
    cdef uint32_t frames = <uint32_t>as_int(value) // FRAME_OCTETS
    target.preset.snd_limit = min(max(frames, <uint32_t>LEAST_SND_FRAMES), target.tcp.state.limits.snd_frames)
    target.preset.traits |= TRAIT_SND_FIXED
    return 0


cdef object get_rcvbuf(Target *target, const Row *row):
    return 2 * target.preset.rcv_limit


cdef int set_rcvbuf(Target *target, const Row *row, object value) except -1:
    """What was advertised is not taken back: a smaller buffer counts from what the peer has not used."""
    cdef uint32_t octets = <uint32_t>as_int(value)
    target.preset.rcv_limit = min(max(octets, <uint32_t>LEAST_RCV_BYTES), target.tcp.state.limits.rcv_bytes)
    target.preset.traits |= TRAIT_RCV_FIXED
    return 0


cdef object get_pacing(Target *target, const Row *row):
    return target.preset.pacing_limit or UINT64_MAX


cdef int set_pacing(Target *target, const Row *row, object value) except -1:
    """Octets a second, in 32 or 64 bits; all ones are no limit, and neither is 0."""
    cdef uint64_t rate
    if isinstance(value, int):
        if not -INT_MAX - 1 <= value <= UINT64_MAX:
            raise OverflowError("a rate has 64 bits")
        rate = value if value >= 0 else value & 0xFFFFFFFF
    elif len(octets := bytes(value)) >= 8:
        rate = int.from_bytes(octets[:8], sys.byteorder)
    else:
        rate = <uint32_t>as_int(octets)
    target.preset.pacing_limit = 0 if rate in (0xFFFFFFFF, UINT64_MAX) else rate
    return 0


cdef object get_linger(Target *target, const Row *row):
    """struct linger"""
    cdef const Settings *settings = &target.preset.settings
    return struct.pack("ii", int((settings.flags & SETTING_LINGER) != 0), <int>settings.linger_s)


cdef int set_linger(Target *target, const Row *row, object value) except -1:
    cdef Settings *settings
    octets = b"" if isinstance(value, int) else bytes(value)
    if len(octets) < 8:
        refuse(EINVAL)
    on, seconds = struct.unpack("ii", octets[:8])
    settings = settings_of(target)
    settings.flags &= ~<uint8_t>SETTING_LINGER
    if on:
        settings.flags |= SETTING_LINGER
        settings.linger_s = <uint32_t>min(seconds, INT_MAX) if seconds >= 0 else INT_MAX
    return 0


# ------------------------------------------------------------------------------------------ IPPROTO_TCP

cdef object get_maxseg(Target *target, const Row *row):
    if target.conn != NO_CONN:
        return target.tcp.tcbs[target.conn].mss
    return target.preset.settings.mss or DEFAULT_MSS


cdef int set_maxseg(Target *target, const Row *row, object value) except -1:
    """As on Linux it holds from the SYN on; on an open connection it changes nothing."""
    cdef int mss = as_int(value)
    if mss != 0 and not LEAST_MSS <= mss <= LARGEST_MSS:
        refuse(EINVAL)
    settings_of(target).mss = <uint16_t>mss
    return 0


cdef object get_syncnt(Target *target, const Row *row):
    return target.preset.settings.syn_retries or target.tcp.state.limits.syn_retries


cdef int set_syncnt(Target *target, const Row *row, object value) except -1:
    settings_of(target).syn_retries = <uint8_t>in_range(value, row)
    return 0


cdef object get_linger2(Target *target, const Row *row):
    if target.preset.settings.flags & SETTING_NO_FIN_WAIT_2:
        return -1
    return (target.preset.settings.linger2_ms or target.tcp.state.limits.fin_wait_2_ms) // 1000


cdef int set_linger2(Target *target, const Row *row, object value) except -1:
    cdef int seconds = as_int(value)
    cdef Settings *settings = settings_of(target)
    settings.flags &= ~<uint8_t>SETTING_NO_FIN_WAIT_2
    if seconds < 0:
        settings.flags |= SETTING_NO_FIN_WAIT_2
    settings.linger2_ms = <uint32_t>min(max(seconds, 0), <int>LONGEST_LINGER2_S) * 1000
    return 0


cdef object get_defer_accept(Target *target, const Row *row):
    return target.preset.settings.defer_accept_ms // 1000


cdef int set_defer_accept(Target *target, const Row *row, object value) except -1:
    """Rounded up to a time at which Linux would send its SYN-ACK again, for the 255th time at the latest."""
    cdef int wanted = as_int(value)
    cdef int timeout = RTO_INITIAL_S
    cdef int period = RTO_INITIAL_S if wanted > 0 else 0
    cdef int times = 1
    while period < wanted and times < 255:
        timeout = min(2 * timeout, RTO_MAX_S)
        period += timeout
        times += 1
    settings_of(target).defer_accept_ms = <uint32_t>period * 1000
    target.preset.traits &= ~<uint32_t>TRAIT_DEFER_ACCEPT
    if period and target.conn == NO_CONN:       # an open connection has been accepted
        target.preset.traits |= TRAIT_DEFER_ACCEPT
    return 0


cdef object get_window_clamp(Target *target, const Row *row):
    return target.preset.settings.window_clamp


cdef int set_window_clamp(Target *target, const Row *row, object value) except -1:
    cdef int clamp = as_int(value)
    target.preset.traits &= ~<uint32_t>TRAIT_WINDOW_CLAMP
    if clamp:
        clamp = max(clamp, <int>LEAST_RCV_BYTES)
        target.preset.traits |= TRAIT_WINDOW_CLAMP
    elif target.conn != NO_CONN or target.listening:
        refuse(EINVAL)                  # only what is not yet open may lose it
    settings_of(target).window_clamp = <uint32_t>clamp
    return 0


cdef object get_notsent_lowat(Target *target, const Row *row):
    return <int32_t>target.preset.settings.notsent_lowat


cdef int set_notsent_lowat(Target *target, const Row *row, object value) except -1:
    settings_of(target).notsent_lowat = <uint32_t>as_int(value)
    target.preset.traits &= ~<uint32_t>TRAIT_NOTSENT_LOWAT
    if target.preset.settings.notsent_lowat:
        target.preset.traits |= TRAIT_NOTSENT_LOWAT
    return 0


cdef object get_quickack(Target *target, const Row *row):
    return 1 if target.conn == NO_CONN else int(target.tcp.colds[target.conn].quick_acks != 0)


cdef int set_quickack(Target *target, const Row *row, object value) except -1:
    """Acknowledge the next segments at once, and what is owed now; or go over to delayed acknowledgments now."""
    cdef bint on = as_int(value) != 0
    if target.conn == NO_CONN:
        return 0
    target.tcp.colds[target.conn].quick_acks = QUICK_ACKS if on else 0
    if on and target.tcp.tcbs[target.conn].flags & CONN_ACK_DELAYED:
        target.tcp.tcbs[target.conn].flags |= CONN_ACK_NOW
        block_touch(target.tcp, target.conn)
    return 0


cdef object get_fast_open(Target *target, const Row *row):
    return <int>target.tcp.state.listeners[target.listener].fast_open if target.listening else 0


cdef int set_fast_open(Target *target, const Row *row, object value) except -1:
    """How many connections of a listener may be served before their handshake ends (RFC 7413 5.1), within the stack's limit
    for half-open ones, as Linux bounds it by somaxconn.
    """
    cdef int most = as_int(value)
    if most < 0 or not target.listening:
        refuse(EINVAL)
    target.tcp.state.listeners[target.listener].fast_open = min(<uint32_t>most, target.tcp.state.limits.half_open)
    return 0


cdef object get_fast_open_connect(Target *target, const Row *row):
    return int((target.preset.settings.flags & SETTING_FAST_OPEN) != 0)


cdef int set_fast_open_connect(Target *target, const Row *row, object value) except -1:
    """Only for what is yet to be opened."""
    cdef int on = as_int(value)
    if not 0 <= on <= 1 or target.conn != NO_CONN or target.listening:
        refuse(EINVAL)
    settings_of(target).flags &= ~<uint8_t>SETTING_FAST_OPEN
    if on:
        settings_of(target).flags |= SETTING_FAST_OPEN
    return 0


cdef object get_congestion(Target *target, const Row *row):
    return <bytes>congestion_control(target.preset.congestion).name


cdef int set_congestion(Target *target, const Row *row, object value) except -1:
    cdef uint32_t which
    if isinstance(value, int):
        value = value.to_bytes(4, sys.byteorder, signed=True)
    name = value.encode() if isinstance(value, str) else bytes(value)
    if not name:
        refuse(EINVAL)
    which = congestion_index(name[:NAME_BYTES - 1].split(b"\0")[0])
    if which == CONGESTION_CONTROLS:
        refuse(ENOENT)
    target.preset.congestion = which
    return 0


cdef uint32_t congestion_index(object name) except? 0xFFFFFFFF:
    cdef bytes octets = name.encode() if isinstance(name, str) else bytes(name)
    return congestion_named(octets)


cdef object get_info(Target *target, const Row *row):
    if target.conn != NO_CONN:
        return tcp_info_octets(target.tcp, target.conn)
    return tcp_info_listener(&target.tcp.state.listeners[target.listener])


# ------------------------------------------------------------------------------------------ IPPROTO_IP, IPPROTO_IPV6

cdef object get_mtu(Target *target, const Row *row):
    if target.conn == NO_CONN:
        refuse(ENOTCONN)
    return int(path_mtu(target.tcp, target.conn))


cdef object get_discovery(Target *target, const Row *row):
    return int(PMTUDISC_DO if target.preset.settings.flags & SETTING_MTU_DO else PMTUDISC_WANT)


cdef int set_discovery(Target *target, const Row *row, object value) except -1:
    """Path MTU discovery is always on; what would switch it off is not supported."""
    cdef int wanted = in_range(value, row)
    cdef Settings *settings
    if wanted != PMTUDISC_WANT and wanted != PMTUDISC_DO:
        refuse(EOPNOTSUPP)
    settings = settings_of(target)
    settings.flags &= ~<uint8_t>SETTING_MTU_DO
    if wanted == PMTUDISC_DO:
        settings.flags |= SETTING_MTU_DO
    return 0


cdef inline bint of_family(Target *target, const Row *row) noexcept:
    """As on Linux an IPv6 socket takes options of IPv4, which then do nothing for what is IPv6."""
    return target.v6 == (row.level == <int>socket.IPPROTO_IPV6)


cdef object get_class(Target *target, const Row *row):
    return target.preset.settings.traffic_class if of_family(target, row) else 0


cdef int set_class(Target *target, const Row *row, object value) except -1:
    """DSCP as it is (RFC 9293 3.9.1.7, SHLD-22); Linux keeps the two bits of ECN out of it for TCP."""
    cdef int traffic_class = in_range(value, row)
    if row.level == <int>socket.IPPROTO_IPV6 and traffic_class < 0:
        traffic_class = 0
    if of_family(target, row):
        settings_of(target).traffic_class = <uint8_t>(traffic_class & 0xFF & ~ECN_FIELD)
    return 0


cdef object get_hop_limit(Target *target, const Row *row):
    return (target.preset.settings.hop_limit if of_family(target, row) else 0) or HOP_LIMIT


cdef int set_hop_limit(Target *target, const Row *row, object value) except -1:
    cdef int hops = in_range(value, row)
    if hops == 0 and row.level == <int>socket.IPPROTO_IP:
        refuse(EINVAL)
    if of_family(target, row):
        settings_of(target).hop_limit = <uint8_t>max(hops, 0)
    return 0


# ------------------------------------------------------------------------------------------ the table

cdef Preset origin


cdef void add(object level, object option, Getter get, Setter set, size_t word=0, uint32_t unit=1, int lowest=-INT_MAX - 1,
              int highest=INT_MAX):
    index[int(level), int(option)] = len(index)
    rows[len(index) - 1] = Row(int(level), int(option), get, set, word, unit, lowest, highest)


cdef inline size_t offset_of(const void *field) noexcept:
    """Where a field of `origin` lies in any Preset."""
    return <size_t>(<const char *>field - <const char *>&origin)


cdef void fill_socket_rows():
    cdef int level = socket.SOL_SOCKET
    add(level, socket.SO_KEEPALIVE, get_bit, set_bit, offset_of(&origin.flags), CONN_KEEPALIVE)
    add(level, socket.SO_SNDBUF, get_sndbuf, set_sndbuf)
    add(level, socket.SO_RCVBUF, get_rcvbuf, set_rcvbuf)
    add(level, socket.SO_LINGER, get_linger, set_linger)
    add(level, SO_MAX_PACING_RATE, get_pacing, set_pacing)
    add(level, socket.SO_ERROR, get_error, NULL)
    add(level, socket.SO_TYPE, get_constant, NULL, 0, socket.SOCK_STREAM)
    add(level, socket.SO_PROTOCOL, get_constant, NULL, 0, socket.IPPROTO_TCP)
    add(level, socket.SO_DOMAIN, get_domain, NULL)
    add(level, socket.SO_ACCEPTCONN, get_listening, NULL)


cdef void fill_tcp_rows():
    cdef int level = socket.IPPROTO_TCP
    add(level, socket.TCP_NODELAY, get_bit, set_bit, offset_of(&origin.flags), CONN_NODELAY)
    add(level, socket.TCP_CORK, get_bit, set_bit, offset_of(&origin.traits), TRAIT_CORK)
    add(level, socket.TCP_KEEPIDLE, get_number, set_number, offset_of(&origin.keep_idle_ms), 1000, 1, 32767)
    add(level, socket.TCP_KEEPINTVL, get_number, set_number, offset_of(&origin.keep_interval_ms), 1000, 1, 32767)
    add(level, socket.TCP_KEEPCNT, get_number, set_number, offset_of(&origin.keep_count), 1, 1, 127)
    add(level, socket.TCP_USER_TIMEOUT, get_number, set_number, offset_of(&origin.user_timeout_ms), 1, 0)
    add(level, socket.TCP_SYNCNT, get_syncnt, set_syncnt, 0, 1, 1, 127)
    add(level, socket.TCP_MAXSEG, get_maxseg, set_maxseg)
    add(level, socket.TCP_LINGER2, get_linger2, set_linger2)
    add(level, socket.TCP_DEFER_ACCEPT, get_defer_accept, set_defer_accept)
    add(level, socket.TCP_WINDOW_CLAMP, get_window_clamp, set_window_clamp)
    add(level, socket.TCP_NOTSENT_LOWAT, get_notsent_lowat, set_notsent_lowat)
    add(level, socket.TCP_QUICKACK, get_quickack, set_quickack)
    add(level, socket.TCP_FASTOPEN, get_fast_open, set_fast_open)
    add(level, TCP_FASTOPEN_CONNECT, get_fast_open_connect, set_fast_open_connect)
    add(level, socket.TCP_CONGESTION, get_congestion, set_congestion)
    add(level, socket.TCP_INFO, get_info, NULL)


cdef void fill_ip_rows():
    add(socket.IPPROTO_IP, socket.IP_TOS, get_class, set_class)
    add(socket.IPPROTO_IP, socket.IP_TTL, get_hop_limit, set_hop_limit, 0, 1, -1, 255)
    add(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, get_class, set_class, 0, 1, -1, 255)
    add(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, get_hop_limit, set_hop_limit, 0, 1, -1, 255)
    add(socket.IPPROTO_IP, IP_RECVERR, get_bit, set_bit, offset_of(&origin.traits), TRAIT_REPORTS)
    add(socket.IPPROTO_IP, IP_MTU, get_mtu, NULL)
    add(socket.IPPROTO_IP, IP_MTU_DISCOVER, get_discovery, set_discovery, 0, 1, 0, PMTUDISC_OMIT)
    add(socket.IPPROTO_IPV6, IPV6_RECVERR, get_bit, set_bit, offset_of(&origin.traits), TRAIT_REPORTS)
    add(socket.IPPROTO_IPV6, IPV6_MTU, get_mtu, NULL)
    add(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, get_discovery, set_discovery, 0, 1, 0, PMTUDISC_OMIT)


fill_socket_rows()
fill_tcp_rows()
fill_ip_rows()


cdef const Row *row_of(const Target *target, int level, int option, int unknown_level) except NULL:
    number = index.get((level, option))
    if level == <int>socket.IPPROTO_IPV6 and not target.v6:
        refuse(unknown_level)
    if number is None:
        refuse(ENOPROTOOPT if level in LEVELS else unknown_level)
    return &rows[<int>number]


cdef object option_get(Target *target, int level, int option, int buflen):
    cdef const Row *row = row_of(target, level, option, EOPNOTSUPP)
    value = row.get(target, row)
    if buflen < 0:
        refuse(EINVAL)
    if buflen == 0:
        return value
    if row.get == get_pacing:
        value = value.to_bytes(8, sys.byteorder) if buflen >= 8 else min(value, 0xFFFFFFFF).to_bytes(4, sys.byteorder)
    elif isinstance(value, int):
        value = value.to_bytes(4, sys.byteorder, signed=True)
    elif row.get == get_congestion:
        value = value.ljust(NAME_BYTES, b"\0")
    return value[:buflen]


cdef int option_set(Target *target, int level, int option, object value) except -1:
    cdef const Row *row = row_of(target, level, option, ENOPROTOOPT)
    if row.set == NULL:
        refuse(ENOPROTOOPT)
    return row.set(target, row, value)


cdef void option_target(Tcp *tcp, uint32_t conn, Target *target) noexcept:
    target.tcp = tcp
    target.conn = conn
    target.listening = False
    target.v6 = not address_is_v4(&tcp.tcbs[conn].local)
    preset_read(tcp, conn, &target.preset)
