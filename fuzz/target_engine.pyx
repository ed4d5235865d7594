"""The whole engine: a stack on a cable, fed with sequences of segments, raw frames, application calls and time.

The input is a program of steps, each one octet of operation and its operands:

    0  raw frame        length 1, octets
    1  segment          port 1, flags 1, sequence 1, acknowledgment 1, window 1, options length 1, options, payload 1
    2  time passes      2^n microseconds, n 1
    3  application      what 1: on the connection accepted last

Sequence and acknowledgment numbers are signed offsets from what would be right, so that short programs reach
deep into the states. At the end all connections are aborted and two hours pass, longer than any connection retries:
everything must have been given back.
"""
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport abort
from libc.string cimport memcpy, memset

from driver cimport fuzz_target
from underpass.link.frames cimport NO_FRAME, frame_chunk, frame_take, frame_unref
from underpass.link.link cimport LINK_RX_PARTIAL, Desc, Link, LinkBase
from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport (
    tcp_abort, tcp_at_end, tcp_close, tcp_connect, tcp_consume, tcp_handle, tcp_listen, tcp_peek, tcp_resolve, tcp_shutdown,
    tcp_write,
)
from underpass.tcp.tcb cimport NO_CONN, App, Tcp
from underpass.wire.address cimport Address, address_v4
from underpass.wire.checksum cimport checksum_pseudo
from underpass.wire.octets cimport load16, load32, store16
from underpass.wire.segment cimport ACK, FIN, SYN
from underpass.wire.tcp cimport tcp_write_header, tcp_write_partial

from underpass.link.frames import Frames
from underpass.link.memory import memory_pair

cdef enum:
    PORTS = 4                   # remote ports in use: each a conversation with numbers of its own
    SERVED = 80
    KEPT = 64                   # connections that the application remembers
    ETHERNET = 14
    IPV4 = 20
    TCP = 20
    SECOND = 1000000000

cdef struct Conversation:       # as a peer with a memory would keep it
    uint32_t next               # our next sequence number
    uint32_t expected           # theirs

cdef struct World:
    Tcp *tcp
    Link *wire                  # the far end of the cable
    uint64_t now_ns
    uint64_t tick
    Conversation[4] talks
    uint64_t[64] handles
    uint32_t kept
    uint8_t app
    uint8_t listener_app
    uint32_t free_here
    uint32_t free_there

cdef World world


# ------------------------------------------------------------------------------------------ the application

cdef void on_opened(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    world.handles[world.kept % KEPT] = tcp_handle(tcp, conn)
    world.kept += 1


cdef void on_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """An echo; what finds no room is dropped."""
    cdef const uint8_t *at = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &at)
    while count:
        tcp_write(tcp, conn, at, count)
        tcp_consume(tcp, conn, count)
        count = tcp_peek(tcp, conn, &at)
    if tcp_at_end(tcp, conn):
        tcp_close(tcp, conn)


cdef void on_writable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """Nothing waits."""


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    """The handle no longer resolves."""


cdef void application(uint8_t what) noexcept nogil:
    cdef Address remote = address_v4(<const uint8_t *>b"\x0a\x00\x00\x01")
    cdef Address local = address_v4(<const uint8_t *>b"\x00\x00\x00\x00")
    cdef uint8_t[200] octets
    cdef int error = 0
    cdef uint32_t conn = NO_CONN
    if world.kept:
        conn = tcp_resolve(world.tcp, world.handles[(world.kept - 1) % KEPT])
    memset(octets, what, sizeof(octets))
    if what & 7 == 0:
        conn = tcp_connect(world.tcp, &local, SERVED, &remote, <uint16_t>(1000 + (what >> 3) % PORTS), world.app, 0, &error)
        if conn != NO_CONN:
            on_opened(world.tcp, conn, NULL)
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
            frame_unref(world.wire.pool, descs[i].frame)
        count = world.wire.receive(world.wire, descs, 64, world.now_ns)


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


cdef void put_segment(const uint8_t *how, const uint8_t *options, uint32_t options_bytes, uint32_t payload) noexcept nogil:
    """A segment with good checksums and addresses, and whatever the program says for the rest."""
    cdef uint8_t[1514] frame
    cdef uint8_t *ip = &frame[ETHERNET]
    cdef uint8_t *tcp = &frame[ETHERNET + IPV4]
    cdef Conversation *talk = &world.talks[how[0] % PORTS]
    cdef uint32_t header = TCP + ((options_bytes + 3) & ~<uint32_t>3)
    cdef uint32_t total = IPV4 + header + payload
    cdef uint32_t seq = talk.next + <uint32_t><int8_t>how[2]
    cdef uint32_t ack = talk.expected + <uint32_t><int8_t>how[3]
    cdef Address src = address_v4(<const uint8_t *>b"\x0a\x00\x00\x01")
    cdef Address dst = address_v4(<const uint8_t *>b"\x0a\x00\x00\x02")
    memset(frame, 0, sizeof(frame))
    memcpy(frame, b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", ETHERNET)
    memcpy(ip, b"\x45\0\0\0\0\0\x40\0\x40\6\0\0\x0a\0\0\1\x0a\0\0\2", IPV4)
    store16(ip + 2, <uint16_t>total)
    store16(ip + 10, ip_checksum(<uint16_t>total))
    tcp_write_header(tcp, <uint16_t>(1000 + how[0] % PORTS), SERVED, seq, ack, how[1], <uint16_t>(how[4] << 6), header)
    memcpy(tcp + TCP, options, options_bytes)
    tcp_write_partial(tcp, header + payload, checksum_pseudo(&src, &dst, 0))
    put_frame(frame, ETHERNET + total)


cdef uint16_t ip_checksum(uint16_t total) noexcept nogil:
    """Of the fixed header above with this total length."""
    cdef uint32_t sum = 0x4500 + total + 0x4000 + 0x4006 + 0x0a00 + 0x0001 + 0x0a00 + 0x0002
    return <uint16_t>~((sum & 0xffff) + (sum >> 16))


# ------------------------------------------------------------------------------------------ a program

cdef uint32_t run_step(const uint8_t *step, uint32_t left) noexcept nogil:
    """Do one step; returns the octets that it took."""
    cdef uint8_t operation = step[0] & 3
    cdef uint32_t options
    if operation == 0 and left >= 2:
        if 2 + <uint32_t>step[1] > left:
            return left
        put_frame(step + 2, step[1])
        return 2 + step[1]
    if operation == 1 and left >= 8:
        options = step[6] % 41
        if 8 + options > left:
            return left
        put_segment(step + 1, step + 8, options, <uint32_t>step[7] * 4)
        return 8 + options
    if operation == 2 and left >= 2:
        world.now_ns += <uint64_t>1000 << (step[1] % 28)
        turn()
        return 2
    if operation == 3 and left >= 2:
        application(step[1])
        turn()
        return 2
    return left


cdef void give_everything_back() noexcept nogil:
    """Abort what is open, let every timer end, and see that nothing is missing."""
    cdef uint32_t i, conn
    for i in range(min(world.kept, <uint32_t>KEPT)):
        conn = tcp_resolve(world.tcp, world.handles[i])
        if conn != NO_CONN:
            tcp_abort(world.tcp, conn)
    for i in range(60):
        world.now_ns += <uint64_t>SECOND * (1 if i < 4 else 130)
        turn()
    if world.tcp.state.tcb_used or world.tcp.state.time_wait_used or world.tcp.state.demux_used:
        abort()
    if world.tcp.state.half_open or world.tcp.starved or world.tcp.tx.head != world.tcp.tx.tail:
        abort()
    if world.tcp.pool.state.free != world.free_here or world.wire.pool.state.free != world.free_there:
        abort()


cdef void engine(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t at = 0
    world.kept = 0
    while at < size:
        at += run_step(data + at, size - at)
    give_everything_back()


cdef Stack make_stack():
    cdef Stack made
    cdef App app
    cdef int error = 0
    cdef Address own = address_v4(<const uint8_t *>b"\x0a\x00\x00\x02")
    ends = memory_pair(Frames(4096), Frames(4096))
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


peer_ends = []
cdef Stack stack = make_stack()
one = fuzz_target(engine)


def segment(port, flags, seq=0, ack=0, window=255, options=b"", payload=0):
    """One step of a program."""
    return bytes([1, port, flags, seq & 255, ack & 255, window, len(options), payload]) + options


SYN_OPTIONS = bytes([2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7])
HELLO = segment(0, 2, options=SYN_OPTIONS) + segment(0, 16, options=bytes([1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1]))
SEEDS = [
    HELLO + segment(0, 24, payload=25) + b"\2\x14" + segment(0, 17),
    segment(1, 2) + segment(1, 16) + segment(1, 24, payload=200) + segment(1, 16, seq=100, payload=20) + segment(1, 4),
    HELLO + b"\3\xff\3\xff\3\1" + segment(0, 16, ack=-100) * 4 + b"\2\x14\2\x15" + segment(0, 17),
    b"".join(segment(port, 2) for port in range(4)) + b"\3\0\3\x08" + segment(1, 18),
    b"\3\0" + segment(0, 18) + b"\3\xfe\3\2" + segment(0, 17) + b"\2\x1b",
    b"\0\x28" + bytes(40),
]
