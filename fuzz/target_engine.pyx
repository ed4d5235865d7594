"""The whole engine: a stack on a cable, fed with programs of segments, raw frames, ICMP errors, calls, time.

The language of the programs is in program.pxd. After each step the stack is held to its invariants. At the
end all connections are aborted and hours pass, longer than any connection retries or waits: everything must
have been given back.
"""
from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort
from libc.string cimport memcpy, memset

import socket

from driver cimport fuzz_mutator, fuzz_target
from mutate_program cimport mutate_program
from program cimport (
    ANY_SEGMENT, APPLICATION, CONNECT_DATA_SHIFT, CONNECT_FAST_OPEN, COOKIE_BYTES_SHIFT, COOKIE_CORRUPT, COOKIE_FIRST,
    COOKIE_KINDS, COOKIE_LAST, COOKIE_NONE, COOKIE_REQUEST, FAST_OPEN_AGAIN, FAST_OPEN_ANSWER, FAST_OPEN_PLAIN, FAST_OPEN_SYN,
    HOW_BLOCKS_SHIFT, HOW_BY_SEGMENTS, HOW_NO_TIMESTAMP, HOW_OLD_TIMESTAMP, HOW_SMALL_WINDOW, ICMP_ERROR, LONGEST_OPTIONS,
    OPERATIONS, RAW_FRAME, READER, RIGHT_SEGMENT, SOCKET_OPTION, TIMES, TIME_PASSES, step_needs,
)
from underpass.link.frames cimport NO_FRAME, frame_chunk, frame_take, frame_unref
from underpass.link.link cimport LINK_RX_PARTIAL, Desc, Link, LinkBase
from underpass.stack.options cimport Target as Owner, option_set, option_target
from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport (
    tcp_abort, tcp_at_end, tcp_close, tcp_connect_preset, tcp_consume, tcp_handle, tcp_listen, tcp_peek, tcp_resolve,
    tcp_shutdown, tcp_write,
)
from underpass.tcp.preset cimport preset_change, preset_default
from underpass.tcp.tcb cimport NO_CONN, SETTING_FAST_OPEN, App, Listener, Preset, Tcp
from underpass.tcp.traits cimport TRAIT_SETTINGS
from underpass.testing.invariants cimport broken_invariant
from underpass.wire.address cimport Address, address_v4
from underpass.wire.checksum cimport checksum_add, checksum_fold, checksum_pseudo
from underpass.wire.octets cimport load16, load32, store16, store32
from underpass.wire.segment cimport ACK, FIN, SYN
from underpass.wire.tcp cimport KIND_FAST_OPEN, tcp_write_fast_open, tcp_write_header, tcp_write_partial

from underpass.link.frames import Frames
from underpass.link.memory import memory_pair

cdef enum:
    PORTS = 4                   # remote ports in use: each a conversation with numbers of its own
    SERVED = 80
    KEPT = 64                   # connections that the application remembers
    ETHERNET = 14
    IPV4 = 20
    TCP = 20
    ICMP = 8
    MOST_PAYLOAD = 1400
    TIMESTAMP_OPTION = 8
    SACK_OPTION = 5
    COOKIE_BYTES = 8            # of the stack's
    FRAMES_HERE = 120           # of the stack: few enough that they run out
    FRAMES_THERE = 4096
    SERVED_EARLY = 2            # by Fast Open at a time, as long as no step changes that
    SECOND = 1000000000
    LONGEST_ROUNDS = 300        # of 130 seconds: TCP_DEFER_ACCEPT may be up to eight and a half hours

cdef struct Conversation:       # as a peer with a memory would keep it
    uint32_t next               # our next sequence number
    uint32_t expected           # theirs
    uint32_t stamp              # their last timestamp
    bint stamps                 # they sent one
    uint32_t opened             # number of our last SYN with a cookie

cdef struct World:
    Tcp *tcp
    Link *wire                  # the far end of the cable
    uint64_t now_ns
    uint64_t tick
    Conversation[4] talks
    uint64_t[64] handles
    uint32_t kept
    uint32_t chosen             # counted back from the last
    bint reading
    uint8_t app
    uint8_t[8] first_cookie     # of this program
    uint8_t[8] last_cookie
    bint has_cookie
    uint32_t free_here
    uint32_t free_there

cdef World world


# ------------------------------------------------------------------------------------------ the application

cdef void on_opened(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    world.handles[world.kept % KEPT] = tcp_handle(tcp, conn)
    world.kept += 1


cdef void on_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """An echo; what finds no room is dropped."""
    if world.reading:
        read_all(tcp, conn)


cdef void read_all(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const uint8_t *at = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &at)
    while count:
        tcp_write(tcp, conn, at, count)
        tcp_consume(tcp, conn, count)
        count = tcp_peek(tcp, conn, &at)
    if tcp_at_end(tcp, conn):
        tcp_close(tcp, conn)


cdef void on_writable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """While it does not read it writes all that there is room for, at most so much at a time."""
    cdef uint8_t[1000] octets
    if world.reading:
        return
    memset(octets, 0x55, sizeof(octets))
    tcp_write(tcp, conn, octets, sizeof(octets))


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    """The handle no longer resolves."""


cdef uint32_t chosen() noexcept nogil:
    """The connection that calls are for, or NO_CONN."""
    if world.kept == 0:
        return NO_CONN
    return tcp_resolve(world.tcp, world.handles[(world.kept - 1 - world.chosen % world.kept) % KEPT])


cdef void reader(uint8_t what) noexcept nogil:
    cdef uint32_t i, conn
    world.chosen = what >> 2
    world.reading = (what & 1) == 0
    if not what & 2:
        return
    for i in range(min(world.kept, <uint32_t>KEPT)):
        conn = tcp_resolve(world.tcp, world.handles[i])
        if conn != NO_CONN:
            read_all(world.tcp, conn)


cdef void set_option(uint8_t which, uint8_t value) noexcept with gil:
    """Of the chosen connection, or of the listener. What Linux would refuse is refused."""
    cdef uint32_t conn = chosen()
    cdef Owner owner
    level, option, values = OPTIONS[(which & 0x7F) % len(OPTIONS)]
    if which & 0x80:
        memset(&owner, 0, sizeof(owner))
        owner.tcp = world.tcp
        owner.conn = NO_CONN
        owner.listening = True
        owner.preset = world.tcp.state.listeners[0].preset
    elif conn == NO_CONN:
        return
    else:
        option_target(world.tcp, conn, &owner)
    try:
        option_set(&owner, level, option, values[value % len(values)])
    except OSError:
        return
    if which & 0x80:
        world.tcp.state.listeners[0].preset = owner.preset
    else:
        preset_change(world.tcp, conn, &owner.preset)


cdef void connect(uint8_t what) noexcept nogil:
    cdef Address remote = address_v4(<const uint8_t *>b"\x0a\x00\x00\x01")
    cdef Address local = address_v4(<const uint8_t *>b"\x00\x00\x00\x00")
    cdef uint8_t[300] octets
    cdef int error = 0
    cdef uint32_t conn
    cdef Preset preset
    preset_default(world.tcp, &preset)
    if what & CONNECT_FAST_OPEN:
        preset.traits |= TRAIT_SETTINGS
        preset.settings.flags |= SETTING_FAST_OPEN
    conn = tcp_connect_preset(world.tcp, &local, SERVED, &remote, <uint16_t>(1000 + (what >> 3) % PORTS), world.app, 0,
                              &preset, &error)
    if conn != NO_CONN:
        on_opened(world.tcp, conn, NULL)
        memset(octets, what, sizeof(octets))
        tcp_write(world.tcp, conn, octets, (what >> CONNECT_DATA_SHIFT) * 100)


cdef void application(uint8_t what) noexcept nogil:
    cdef uint8_t[200] octets
    cdef uint32_t conn = chosen()
    memset(octets, what, sizeof(octets))
    if what & 7 == 0:
        connect(what)
    elif conn == NO_CONN:
        return
    elif what & 7 == 1:
        tcp_shutdown(world.tcp, conn)
    elif what & 7 == 2:
        tcp_close(world.tcp, conn)
    elif what & 7 == 3:
        tcp_abort(world.tcp, conn)
    else:
        tcp_write(world.tcp, conn, octets, what >> 1)


# ------------------------------------------------------------------------------------------ the wire

cdef void listen_to_stack() noexcept nogil:
    """Take what the stack sent, and note the numbers that it uses."""
    cdef Desc[64] descs
    cdef uint32_t count = world.wire.receive(world.wire, descs, 64, world.now_ns)
    cdef uint32_t i, port
    cdef const uint8_t *tcp
    cdef Conversation *talk
    while count:
        for i in range(count):
            tcp = frame_chunk(world.wire.pool, descs[i].frame) + descs[i].offset + ETHERNET + IPV4
            if descs[i].length >= ETHERNET + IPV4 + TCP:
                port = load16(tcp + 2) - 1000
                talk = &world.talks[port % PORTS]
                talk.expected = load32(tcp + 4) + ((tcp[13] & (SYN | FIN)) != 0) + \
                    descs[i].length - ETHERNET - IPV4 - (tcp[12] >> 4) * 4
                if tcp[13] & ACK:
                    talk.next = load32(tcp + 8)
                note_timestamp(talk, tcp + TCP, tcp + (tcp[12] >> 4) * 4)
                if tcp[13] & (SYN | ACK) == SYN | ACK:
                    note_cookie(tcp + TCP, tcp + (tcp[12] >> 4) * 4)
            frame_unref(world.wire.pool, descs[i].frame)
        count = world.wire.receive(world.wire, descs, 64, world.now_ns)


cdef void note_timestamp(Conversation *talk, const uint8_t *option, const uint8_t *end) noexcept nogil:
    talk.stamps = False
    while option < end and option[0] != 0:
        if option[0] == 1:
            option += 1
            continue
        if option[0] == TIMESTAMP_OPTION:
            talk.stamps = True
            talk.stamp = load32(option + 2)
            return
        option += option[1]


cdef void note_cookie(const uint8_t *option, const uint8_t *end) noexcept nogil:
    while option < end and option[0] != 0:
        if option[0] == KIND_FAST_OPEN and option[1] == 2 + COOKIE_BYTES:
            if not world.has_cookie:
                memcpy(world.first_cookie, option + 2, COOKIE_BYTES)
            memcpy(world.last_cookie, option + 2, COOKIE_BYTES)
            world.has_cookie = True
        option += 1 if option[0] == 1 else option[1]


cdef void turn() noexcept nogil:
    stack.turn(world.now_ns)
    listen_to_stack()


cdef void put_frame(const uint8_t *octets, uint32_t length) noexcept nogil:
    """Put a frame on the cable, and let the stack have a turn."""
    cdef Desc desc
    cdef uint32_t frame
    if length == 0 or length > 1514:
        return
    frame = frame_take(world.wire.pool)
    if frame == NO_FRAME:
        abort()
    memset(&desc, 0, sizeof(desc))
    desc.frame = frame
    desc.offset = 192
    desc.length = <uint16_t>length
    memcpy(frame_chunk(world.wire.pool, frame) + 192, octets, length)
    if world.wire.transmit(world.wire, &desc, 1, world.now_ns) != 1:
        frame_unref(world.wire.pool, frame)
    turn()


cdef struct Fields:                 # of a segment to be sent
    uint8_t port
    uint8_t flags
    uint16_t window
    uint32_t seq
    uint32_t ack
    uint32_t payload
    uint32_t options_bytes
    uint8_t[40] options


cdef void put_any_segment(const uint8_t *how, const uint8_t *options) noexcept nogil:
    cdef Conversation *talk = &world.talks[how[0] % PORTS]
    cdef Fields fields
    fields.port = how[0] % PORTS
    fields.flags = how[1]
    fields.seq = talk.next + <uint32_t><int8_t>how[2]
    fields.ack = talk.expected + <uint32_t><int8_t>how[3]
    fields.window = <uint16_t>(how[4] << 6)
    fields.options_bytes = how[5] % LONGEST_OPTIONS
    fields.payload = <uint32_t>how[6] * 4
    memcpy(fields.options, options, fields.options_bytes)
    put_segment(&fields)


cdef void put_right_segment(const uint8_t *what) noexcept nogil:
    """One with the options that it ought to have, about the place where the conversation is."""
    cdef Conversation *talk = &world.talks[what[0] % PORTS]
    cdef uint8_t how = what[6]
    cdef uint32_t unit = 500 if how & HOW_BY_SEGMENTS else 1
    cdef Fields fields
    fields.port = what[0] % PORTS
    fields.flags = what[1]
    fields.seq = talk.next + <uint32_t>(<int8_t>what[2] * <int32_t>unit)
    fields.ack = talk.expected + <uint32_t>(<int8_t>what[3] * <int32_t>unit)
    fields.window = what[4] if how & HOW_SMALL_WINDOW else <uint16_t>(what[4] << 8)
    fields.payload = min(<uint32_t>what[5] * 6, <uint32_t>MOST_PAYLOAD)
    fields.options_bytes = 0
    memset(fields.options, 0, sizeof(fields.options))
    if talk.stamps and not how & HOW_NO_TIMESTAMP:
        add_timestamp(talk, &fields, how)
    add_blocks(talk, &fields, how >> HOW_BLOCKS_SHIFT & 3, what + 7)
    put_segment(&fields)


cdef void add_timestamp(const Conversation *talk, Fields *fields, uint8_t how) noexcept nogil:
    fields.options[0] = fields.options[1] = 1
    fields.options[2] = TIMESTAMP_OPTION
    fields.options[3] = 10
    store32(&fields.options[4], <uint32_t>(world.now_ns // 1000000) - (100000 if how & HOW_OLD_TIMESTAMP else 0))
    store32(&fields.options[8], talk.stamp)
    fields.options_bytes = 12


cdef void add_blocks(const Conversation *talk, Fields *fields, uint32_t count, const uint8_t *where) noexcept nogil:
    """SACK blocks below the end of what the stack has sent, from low to high numbers or back."""
    cdef uint8_t *at = &fields.options[fields.options_bytes]
    cdef uint32_t i
    cdef uint32_t left
    if count == 0:
        return
    at[0] = at[1] = 1
    at[2] = SACK_OPTION
    at[3] = <uint8_t>(2 + 8 * count)
    for i in range(count):
        left = talk.expected - (<uint32_t>where[0] + i) * 250
        store32(at + 4 + 8 * i, left)
        store32(at + 8 + 8 * i, left + where[1] * 100)
    fields.options_bytes += 4 + 8 * count


cdef void begin_opening(Fields *fields, uint8_t port, uint8_t how, uint8_t payload) noexcept nogil:
    """Of a SYN or SYN-ACK: all that both have in common, the options beside the cookie too."""
    fields.port = port % PORTS
    fields.ack = 0
    fields.window = 0xFFFF
    fields.payload = min(<uint32_t>payload * 6, <uint32_t>MOST_PAYLOAD)
    fields.options_bytes = 0
    memset(fields.options, 0, sizeof(fields.options))
    if not how & FAST_OPEN_PLAIN:
        memcpy(fields.options, b"\2\4\5\264\4\2\10\12\0\0\0\1\0\0\0\0\1\3\3\7", 20)
        store32(&fields.options[8], <uint32_t>(world.now_ns // 1000000))
        store32(&fields.options[12], world.talks[port % PORTS].stamp)
        fields.options_bytes = 20


cdef void add_cookie(Fields *fields, uint8_t how) noexcept nogil:
    cdef uint8_t[16] cookie
    cdef uint32_t octets = COOKIE_BYTES
    cdef uint32_t kind = how % COOKIE_KINDS
    if kind == COOKIE_NONE:
        return
    memcpy(cookie, &world.first_cookie[0] if kind == COOKIE_FIRST else &world.last_cookie[0], COOKIE_BYTES)
    memset(cookie + COOKIE_BYTES, how, COOKIE_BYTES)
    if kind == COOKIE_CORRUPT:
        cookie[(how >> COOKIE_BYTES_SHIFT) % COOKIE_BYTES] ^= 1
    elif kind == COOKIE_REQUEST:
        octets = 0
    elif kind != COOKIE_LAST and kind != COOKIE_FIRST:
        octets = how >> COOKIE_BYTES_SHIFT
    fields.options_bytes += tcp_write_fast_open(&fields.options[fields.options_bytes], cookie, octets)


cdef void put_fast_open_syn(const uint8_t *what) noexcept nogil:
    """RFC 7413 4.2.1: a client's SYN, with a cookie or without, and with data."""
    cdef Conversation *talk = &world.talks[what[0] % PORTS]
    cdef Fields fields
    begin_opening(&fields, what[0], what[1], what[2])
    add_cookie(&fields, what[1])
    fields.flags = SYN
    fields.seq = talk.opened if what[1] & FAST_OPEN_AGAIN else talk.next
    talk.opened = fields.seq
    put_segment(&fields)


cdef void put_fast_open_answer(const uint8_t *what) noexcept nogil:
    """RFC 7413 4.2.2: a server's SYN-ACK, of all that our SYN carried or not, perhaps with a cookie and data."""
    cdef Conversation *talk = &world.talks[what[0] % PORTS]
    cdef Fields fields
    begin_opening(&fields, what[0], what[1], what[3])
    add_cookie(&fields, what[1])
    fields.flags = SYN | ACK
    fields.seq = talk.next
    fields.ack = talk.expected + <uint32_t><int8_t>what[2]
    put_segment(&fields)


cdef void put_segment(const Fields *fields) noexcept nogil:
    """A segment with good checksums and addresses, and whatever the program says for the rest."""
    cdef uint8_t[1514] frame
    cdef uint8_t *ip = &frame[ETHERNET]
    cdef uint8_t *tcp = &frame[ETHERNET + IPV4]
    cdef uint32_t header = TCP + ((fields.options_bytes + 3) & ~<uint32_t>3)
    cdef uint32_t total = IPV4 + header + fields.payload
    cdef Address src = address_v4(<const uint8_t *>b"\x0a\x00\x00\x01")
    cdef Address dst = address_v4(<const uint8_t *>b"\x0a\x00\x00\x02")
    memset(frame, 0, sizeof(frame))
    memcpy(frame, b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", ETHERNET)
    memcpy(ip, b"\x45\0\0\0\0\0\x40\0\x40\6\0\0\x0a\0\0\1\x0a\0\0\2", IPV4)
    store16(ip + 2, <uint16_t>total)
    store16(ip + 10, ip_checksum(<uint16_t>total))
    tcp_write_header(tcp, <uint16_t>(1000 + fields.port), SERVED, fields.seq, fields.ack, fields.flags,
                     fields.window, header)
    memcpy(tcp + TCP, fields.options, fields.options_bytes)
    tcp_write_partial(tcp, header + fields.payload, checksum_pseudo(&src, &dst, 0))
    put_frame(frame, ETHERNET + total)


cdef void put_icmp(const uint8_t *how) noexcept nogil:
    """An error from a router, about a segment of ours from about the place where the conversation is."""
    cdef uint8_t[70] frame          # Ethernet, IPv4, ICMP, and of the packet quoted IPv4 and eight octets
    cdef uint8_t *ip = &frame[ETHERNET]
    cdef uint8_t *icmp = ip + IPV4
    cdef uint8_t *quoted = icmp + ICMP
    cdef uint16_t sum
    memset(frame, 0, sizeof(frame))
    memcpy(frame, b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", ETHERNET)
    memcpy(ip, b"\x45\0\0\x38\0\0\0\0\x40\1\0\0\x0a\0\0\1\x0a\0\0\2", IPV4)
    memcpy(quoted, b"\x45\0\5\xdc\0\0\x40\0\x40\6\0\0\x0a\0\0\2\x0a\0\0\1", IPV4)
    icmp[0], icmp[1], icmp[6], icmp[7] = how[1], how[2], how[3], how[4]
    store16(quoted + IPV4, SERVED)
    store16(quoted + IPV4 + 2, <uint16_t>(1000 + how[0] % PORTS))
    store32(quoted + IPV4 + 4, world.talks[how[0] % PORTS].expected + <uint32_t><int8_t>how[5])
    sum = ~checksum_fold(checksum_add(ip, IPV4, 0))
    memcpy(ip + 10, &sum, 2)
    sum = ~checksum_fold(checksum_add(icmp, ICMP + IPV4 + 8, 0))
    memcpy(icmp + 2, &sum, 2)
    put_frame(frame, sizeof(frame))


cdef uint16_t ip_checksum(uint16_t total) noexcept nogil:
    """Of the fixed header above with this total length."""
    cdef uint32_t sum = 0x4500 + total + 0x4000 + 0x4006 + 0x0a00 + 0x0001 + 0x0a00 + 0x0002
    return <uint16_t>~((sum & 0xffff) + (sum >> 16))


# ------------------------------------------------------------------------------------------ a program

cdef uint32_t run_step(const uint8_t *step, uint32_t left) noexcept nogil:
    """Do one step; returns the octets that it took, all that are left where it is cut off."""
    cdef uint8_t operation = step[0] % OPERATIONS
    cdef uint32_t bytes = step_needs(step, left)
    if bytes > left:
        return left
    if operation == RAW_FRAME:
        put_frame(step + 2, step[1])
    elif operation == ANY_SEGMENT:
        put_any_segment(step + 1, step + 8)
    elif operation == TIME_PASSES:
        world.now_ns += <uint64_t>1000 << (step[1] % TIMES)
    elif operation == APPLICATION:
        application(step[1])
    elif operation == RIGHT_SEGMENT:
        put_right_segment(step + 1)
    elif operation == ICMP_ERROR:
        put_icmp(step + 1)
    elif operation == SOCKET_OPTION:
        set_option(step[1], step[2])
    elif operation == READER:
        reader(step[1])
    elif operation == FAST_OPEN_SYN:
        put_fast_open_syn(step + 1)
    elif operation == FAST_OPEN_ANSWER:
        put_fast_open_answer(step + 1)
    turn()
    check_invariants()
    return bytes


cdef void check_invariants() noexcept nogil:
    cdef unsigned int conn = NO_CONN
    cdef const char *wrong = broken_invariant(world.tcp, &conn)
    if wrong != NULL:
        fprintf(stderr, "connection %d does not keep to this: %s\n", <int>conn, wrong)
        abort()


cdef void abort_all() noexcept nogil:
    cdef uint32_t i, conn
    for i in range(min(world.kept, <uint32_t>KEPT)):
        conn = tcp_resolve(world.tcp, world.handles[i])
        if conn != NO_CONN:
            tcp_abort(world.tcp, conn)


cdef bint all_is_over() noexcept nogil:
    return world.tcp.state.tcb_used == 0 and world.tcp.state.time_wait_used == 0


cdef void give_everything_back() noexcept nogil:
    """Abort what is open, and what is accepted late; let every timer end, and see that nothing is missing."""
    cdef uint32_t i
    for i in range(LONGEST_ROUNDS):
        abort_all()
        world.now_ns += <uint64_t>SECOND * (1 if i < 4 else 130)
        turn()
        check_invariants()
        if i >= 4 and all_is_over():
            break
    if world.tcp.state.tcb_used or world.tcp.state.time_wait_used or world.tcp.state.demux_used:
        abort()
    if world.tcp.state.half_open or world.tcp.starved or world.tcp.tx.head != world.tcp.tx.tail:
        abort()
    if world.tcp.pool.state.free != world.free_here or world.wire.pool.state.free != world.free_there:
        abort()


cdef void forget() noexcept nogil:
    """What a program before this one has set, and what the stack has learned from it."""
    cdef Listener *listener = &world.tcp.state.listeners[0]
    world.kept = world.chosen = 0
    world.reading = True
    world.has_cookie = False
    memset(world.first_cookie, 0, COOKIE_BYTES)
    memset(world.last_cookie, 0, COOKIE_BYTES)
    preset_default(world.tcp, &listener.preset)
    listener.fast_open = SERVED_EARLY
    listener.fast_open_resets[0] = listener.fast_open_resets[1] = 0
    memset(&world.tcp.state.fast_open_cookies, 0, sizeof(world.tcp.state.fast_open_cookies))


cdef void engine(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t at = 0
    forget()
    while at < size:
        at += run_step(data + at, size - at)
    give_everything_back()


cdef Stack make_stack():
    cdef Stack made
    cdef App app
    cdef int error = 0
    cdef Address own = address_v4(<const uint8_t *>b"\x0a\x00\x00\x02")
    ends = memory_pair(Frames(FRAMES_HERE), Frames(FRAMES_THERE))
    made = Stack(ends[0], b"\2\0\0\0\0\2", seed=bytes(16), connections=128, time_waits=64, half_open=3)
    made.set_addresses([("10.0.0.2", 24)])
    made.set_routes([("10.0.0.0", 24, None, None, 0, 0)])
    made.set_neighbour("10.0.0.1", b"\2\0\0\0\0\1")
    made.link.link.offloads |= LINK_RX_PARTIAL
    memset(&app, 0, sizeof(app))
    app.accepted = app.connected = on_opened
    app.readable = on_readable
    app.writable = on_writable
    app.closed = on_closed
    memset(&world, 0, sizeof(world))
    world.app = <uint8_t>made.register_app(&app, None)
    world.tcp = &made.tcp
    world.wire = &(<LinkBase>ends[1]).link
    world.now_ns = SECOND
    tcp_listen(world.tcp, &own, 4, SERVED, world.app, 3, 0, 0, &error)
    world.free_here = world.tcp.pool.state.free
    world.free_there = world.wire.pool.state.free
    peer_ends.append(ends)
    return made


SOL, TCP_LEVEL = socket.SOL_SOCKET, socket.IPPROTO_TCP
NUMBERS = [0, 1, 2, 100, 536, 1000, 65535, 1 << 20]
OPTIONS = [(TCP_LEVEL, socket.TCP_CONGESTION, [b"cubic", b"reno", b"bbr", b"dctcp", b"none"])]
OPTIONS += [(SOL, option, NUMBERS) for option in (socket.SO_KEEPALIVE, socket.SO_SNDBUF, socket.SO_RCVBUF)]
OPTIONS += [(SOL, socket.SO_LINGER, [bytes(8), b"\1\0\0\0\0\0\0\0", b"\1\0\0\0\5\0\0\0", b""])]
OPTIONS += [(TCP_LEVEL, getattr(socket, f"TCP_{name}"), NUMBERS) for name in (
    "NODELAY", "MAXSEG", "KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT", "CORK", "QUICKACK", "DEFER_ACCEPT",
    "NOTSENT_LOWAT", "LINGER2", "SYNCNT", "WINDOW_CLAMP", "FASTOPEN")]
peer_ends = []
cdef Stack stack = make_stack()
one = fuzz_target(engine)
mutator = fuzz_mutator(mutate_program)


def segment(port, flags, seq=0, ack=0, window=255, options=b"", payload=0):
    """One step of a program."""
    return bytes([1, port, flags, seq & 255, ack & 255, window, len(options), payload]) + options


SYN_OPTIONS = bytes([2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7])
HELLO = segment(0, 2, options=SYN_OPTIONS) + segment(0, 16, options=bytes([1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1]))
ASK, SHOW, AGAIN, FORGED, PLAIN = 1, 2, 2 | 16, 4, 8


def open_fast(port, how, payload=0):
    """A client's SYN with data."""
    return bytes([8, port, how, payload])


def answer_fast(port, how, ack=0, payload=0):
    """A server's SYN-ACK for a SYN with data."""
    return bytes([9, port, how, ack & 255, payload])


def connect_fast(port, hundreds=0):
    """The application's open of such a connection, with so many octets to send."""
    return bytes([3, port << 3 | 32 | hundreds << 6])


LEARNED = open_fast(0, ASK) + segment(0, 4)
TAUGHT = connect_fast(0) + answer_fast(0, SHOW) + b"\3\3"
SEEDS = [
    HELLO + segment(0, 24, payload=25) + b"\2\x14" + segment(0, 17),
    segment(1, 2) + segment(1, 16) + segment(1, 24, payload=200) + segment(1, 16, seq=100, payload=20) + segment(1, 4),
    HELLO + b"\3\xff\3\xff\3\1" + segment(0, 16, ack=-100) * 4 + b"\2\x14\2\x15" + segment(0, 17),
    b"".join(segment(port, 2) for port in range(4)) + b"\3\0\3\x08" + segment(1, 18),
    b"\3\0" + segment(0, 18) + b"\3\xfe\3\2" + segment(0, 17) + b"\2\x1b",
    b"\0\x28" + bytes(40),
    LEARNED + open_fast(1, SHOW, 20) + segment(1, 16) + segment(1, 17),
    LEARNED + open_fast(1, FORGED, 20) + open_fast(1, AGAIN, 20) + segment(1, 24, payload=9) + b"\3\1",
    LEARNED + b"".join(open_fast(port, SHOW, 9) for port in range(1, 4)) + segment(2, 4) + b"\2\x14" + segment(1, 16),
    b"".join(segment(port, 2) for port in range(3)) + open_fast(3, SHOW, 9),
    LEARNED + b"\2\x25" + open_fast(1, 3, 5) + b"\3\xfe" + segment(1, 16),
    TAUGHT + connect_fast(1, 2) + answer_fast(1, 0) + segment(1, 24, payload=5),
    TAUGHT + connect_fast(1, 3) + answer_fast(1, SHOW, -100) + segment(1, 16),
    TAUGHT + connect_fast(1, 3) + b"\2\x14\2\x14" + answer_fast(1, 0, 100) + b"\3\3" + connect_fast(2, 1),
    TAUGHT + connect_fast(1, 1) + open_fast(1, PLAIN) + segment(1, 16),
    TAUGHT + connect_fast(1) + b"\3\xfe" + answer_fast(1, SHOW, 0, 9) + b"\3\1",
]
