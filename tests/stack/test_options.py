"""Socket options against the kernel's: a real socket and one of ours are asked the same questions."""

import errno
import socket
import struct

import pytest

from underpass.testing.peer import Wire

TCP, SOCKET = socket.IPPROTO_TCP, socket.SOL_SOCKET
NUMBERS = [
    -(2**31),
    -1,
    0,
    1,
    2,
    5,
    63,
    64,
    87,
    88,
    120,
    121,
    127,
    128,
    255,
    1000,
    1152,
    32767,
    32768,
    65535,
    2**31 - 1,
]
OPTIONS = [
    *(
        "TCP_NODELAY",
        "TCP_CORK",
        "TCP_KEEPIDLE",
        "TCP_KEEPINTVL",
        "TCP_KEEPCNT",
        "TCP_USER_TIMEOUT",
        "TCP_SYNCNT",
    ),
    *("TCP_FASTOPEN", "TCP_LINGER2"),
    *("TCP_DEFER_ACCEPT", "TCP_WINDOW_CLAMP", "TCP_NOTSENT_LOWAT", "TCP_QUICKACK", "TCP_INFO"),
    *("IP_TOS", "IP_TTL"),
    *("SO_KEEPALIVE", "SO_ERROR", "SO_TYPE", "SO_PROTOCOL", "SO_DOMAIN", "SO_ACCEPTCONN"),
]
OCTETS = [
    b"",
    b"\1",
    b"\1\0\0",
    struct.pack("i", 1),
    struct.pack("ii", 1, 5),
    struct.pack("ii", 0, 5),
    struct.pack("iii", 1, 7, 0),
]


@pytest.fixture
def kernel():
    """A connection of the kernel's, over loopback."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as conn,
    ):
        yield conn


@pytest.fixture
def ours():
    """A connection of ours, to a scripted peer."""
    with Wire() as wire:
        wire.stack.listen(("0.0.0.0", 80))
        yield wire.peer().open()


def answer(call, *arguments):
    """What a call gives, or the errno that it raises."""
    try:
        return call(*arguments)
    except OSError as error:
        return "errno", error.errno


def level_of(name):
    return {"SO": SOCKET, "IP": socket.IPPROTO_IP}.get(name.split("_")[0], TCP)


@pytest.mark.parametrize("name", OPTIONS)
def test_numbers_are_taken_rounded_and_refused_as_by_linux(kernel, ours, name):
    number = getattr(socket, name)
    if name == "TCP_SYNCNT":                # its default is a sysctl there
        for it in (ours, kernel):
            it.setsockopt(TCP, number, 3)
    for value in NUMBERS:
        asked = [answer(it.setsockopt, level_of(name), number, value) for it in (ours, kernel)]
        assert asked[0] == asked[1], value
        if name != "TCP_INFO":
            assert answer(ours.getsockopt, level_of(name), number) == answer(
                kernel.getsockopt, level_of(name), number
            ), value


@pytest.mark.parametrize(
    "name", ["SO_LINGER", "SO_KEEPALIVE", "TCP_NODELAY", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"]
)
@pytest.mark.parametrize("octets", OCTETS, ids=len)
def test_buffers_are_taken_and_refused_as_by_linux(kernel, ours, name, octets):
    number = getattr(socket, name)
    asked = [answer(it.setsockopt, level_of(name), number, octets) for it in (ours, kernel)]
    assert asked[0] == asked[1]
    for room in (1, 4, 8, 16):
        got = [answer(it.getsockopt, level_of(name), number, room) for it in (ours, kernel)]
        assert got[0] == got[1]


@pytest.mark.parametrize(
    ("level", "number"), [(999, 1), (TCP, 9999), (SOCKET, 9999), (socket.IPPROTO_IP, 9999)]
)
def test_what_does_not_exist_is_refused_as_by_linux(kernel, ours, level, number):
    for call, *value in (("getsockopt",), ("setsockopt", 1)):
        asked = [answer(getattr(it, call), level, number, *value) for it in (ours, kernel)]
        assert asked[0] == asked[1]


@pytest.mark.parametrize("value", [0, 1, 64, 87, 88, 1000, 32767, 32768, -1])
def test_the_range_of_the_segment_size(kernel, ours, value):
    """On an open connection it changes nothing, as on Linux."""
    before = ours.getsockopt(TCP, socket.TCP_MAXSEG)
    assert answer(ours.setsockopt, TCP, socket.TCP_MAXSEG, value) == answer(
        kernel.setsockopt, TCP, socket.TCP_MAXSEG, value
    )
    assert ours.getsockopt(TCP, socket.TCP_MAXSEG) == before


@pytest.mark.parametrize("name", [b"nonesuch", b"cubic", b"cubic\0", b"", b"a" * 40, struct.pack("i", 1)])
def test_names_of_congestion_controls(kernel, ours, name):
    asked = [answer(it.setsockopt, TCP, socket.TCP_CONGESTION, name) for it in (ours, kernel)]
    assert asked[0] == asked[1]
    if asked[1] is None:
        room = [it.getsockopt(TCP, socket.TCP_CONGESTION, 64) for it in (ours, kernel)]
        assert room[0] == room[1]


@pytest.mark.parametrize("name", ["SO_SNDBUF", "SO_RCVBUF"])
def test_buffers_read_twice_what_was_set(kernel, ours, name):
    for value in (65536, 131072):
        for it in (ours, kernel):
            it.setsockopt(SOCKET, getattr(socket, name), value)
            assert it.getsockopt(SOCKET, getattr(socket, name)) == 2 * value


def test_tcp_info_has_linux_layout(kernel, ours):
    """State, options and scales stand where ss and others look for them."""
    info, linux = (it.getsockopt(TCP, socket.TCP_INFO, 1024) for it in (ours, kernel))
    assert len(info) == 248 <= len(linux)
    assert info[0] == linux[0] == 1
    rto, _, snd_mss = struct.unpack_from("III", info, 8)
    assert 200_000 <= rto <= 3_000_000
    assert snd_mss == ours.getsockopt(TCP, socket.TCP_MAXSEG)
    assert ours.getsockopt(TCP, socket.TCP_INFO, 10) == info[:10]


# ---- listeners, connections of IPv6, options of IP


@pytest.fixture
def listeners():
    """A listener of ours and one of the kernel's."""
    with Wire() as wire, socket.create_server(("127.0.0.1", 0)) as kernel:
        yield wire.stack.listen(("0.0.0.0", 80)), kernel


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "TCP_QUICKACK"])
def test_numbers_on_a_listener(listeners, name):
    number, level = getattr(socket, name), level_of(name)
    if name == "TCP_SYNCNT":                # its default is a sysctl there
        for it in listeners:
            it.setsockopt(TCP, number, 3)
    for value in NUMBERS:
        asked = [answer(it.setsockopt, level, number, value) for it in listeners]
        assert asked[0] == asked[1], value
        if name != "TCP_INFO":
            got = [answer(it.getsockopt, level, number) for it in listeners]
            assert got[0] == got[1], value


@pytest.mark.parametrize("value", [0, 1, 87, 88, 1000, 32767, 32768, -1])
def test_the_segment_size_of_a_listener(listeners, value):
    """There it holds for what is accepted, and reads as it was set"""
    asked = [answer(it.setsockopt, TCP, socket.TCP_MAXSEG, value) for it in listeners]
    assert asked[0] == asked[1]
    got = [it.getsockopt(TCP, socket.TCP_MAXSEG) for it in listeners]
    assert got[0] == got[1]


IP_OPTIONS = {"IP_MTU_DISCOVER": 10, "IP_RECVERR": 11, "IP_MTU": 14, "IP_TOS": 1, "IP_TTL": 2}
IPV6_OPTIONS = {"IPV6_MTU_DISCOVER": 23, "IPV6_MTU": 24, "IPV6_RECVERR": 25}
SWITCHED_OFF = (0, 3, 4, 5)                 # of IP_MTU_DISCOVER: ours is always on


@pytest.mark.parametrize("name", IP_OPTIONS)
def test_options_of_ip(kernel, ours, name):
    number = IP_OPTIONS[name]
    for value in NUMBERS:
        if name == "IP_MTU_DISCOVER" and value in SWITCHED_OFF:
            assert answer(ours.setsockopt, socket.IPPROTO_IP, number, value) == ("errno", errno.EOPNOTSUPP)
            continue
        asked = [answer(it.setsockopt, socket.IPPROTO_IP, number, value) for it in (ours, kernel)]
        assert asked[0] == asked[1], value
        if name != "IP_MTU":
            got = [answer(it.getsockopt, socket.IPPROTO_IP, number) for it in (ours, kernel)]
            assert got[0] == got[1], value


def test_the_mtu_is_that_of_the_path(ours):
    assert ours.getsockopt(socket.IPPROTO_IP, IP_OPTIONS["IP_MTU"]) == 1500


def test_the_mtu_of_what_is_not_connected(listeners):
    got = [answer(it.getsockopt, socket.IPPROTO_IP, IP_OPTIONS["IP_MTU"]) for it in listeners]
    assert got[0] == got[1] == ("errno", errno.ENOTCONN)


@pytest.mark.parametrize("name", IPV6_OPTIONS)
def test_options_of_ipv6_on_a_connection_of_ipv4(kernel, ours, name):
    number = IPV6_OPTIONS[name]
    asked = [answer(it.setsockopt, socket.IPPROTO_IPV6, number, 1) for it in (ours, kernel)]
    got = [answer(it.getsockopt, socket.IPPROTO_IPV6, number) for it in (ours, kernel)]
    assert asked[0] == asked[1]
    assert got[0] == got[1]


PACING = 47
RATES = [1, 1000, 2**31 - 1, -1, struct.pack("q", 2**40), struct.pack("i", 77), b"", b"\1\0"]


@pytest.mark.parametrize("value", RATES, ids=repr)
def test_pacing_rates(kernel, ours, value):
    """In 32 or 64 bits, and read back in as many as there is room for"""
    asked = [answer(it.setsockopt, SOCKET, PACING, value) for it in (ours, kernel)]
    assert asked[0] == asked[1]
    for room in (4, 8):
        got = [answer(it.getsockopt, SOCKET, PACING, room) for it in (ours, kernel)]
        assert got[0] == got[1]


@pytest.mark.parametrize("name", ["SO_SNDBUF", "SO_RCVBUF"])
@pytest.mark.parametrize("octets", [b"", b"\1", b"\0\0\0"], ids=len)
def test_buffer_sizes_of_too_few_octets(kernel, ours, name, octets):
    asked = [answer(it.setsockopt, SOCKET, getattr(socket, name), octets) for it in (ours, kernel)]
    assert asked[0] == asked[1] == ("errno", errno.EINVAL)


@pytest.mark.parametrize("name", ["SO_SNDBUF", "SO_RCVBUF"])
@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1])
def test_buffer_sizes_are_bounded_without_a_word(kernel, ours, name, value):
    """socket(7): the least and the largest are taken in place of what was asked for"""
    for it in (ours, kernel):
        assert answer(it.setsockopt, SOCKET, getattr(socket, name), value) is None
        assert it.getsockopt(SOCKET, getattr(socket, name)) > 0


@pytest.mark.parametrize(
    "option", [(TCP, socket.TCP_NODELAY), (SOCKET, socket.SO_LINGER), (TCP, socket.TCP_CONGESTION)]
)
def test_a_value_that_is_no_number_and_no_octets(kernel, ours, option):
    for it in (ours, kernel):
        with pytest.raises(TypeError):
            it.setsockopt(*option, 1.5)


def test_a_number_that_is_too_large(ours):
    with pytest.raises(OverflowError):
        ours.setsockopt(TCP, socket.TCP_NODELAY, 2**31)


def test_a_closed_connection_has_no_options(kernel, ours):
    for it in (ours, kernel):
        it.close()
        assert answer(it.getsockopt, TCP, socket.TCP_NODELAY) == ("errno", errno.EBADF)
        assert answer(it.setsockopt, TCP, socket.TCP_NODELAY, 1) == ("errno", errno.EBADF)
