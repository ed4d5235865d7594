"""How the load generator finds the end of an answer (RFC 9112), whatever portions it comes in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_response import ResponseProbe

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
BODY = b"4;x=y\r\nwiki\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n"
ANSWERS = {
    "length": (OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "bare line feeds (2.2)": (b"HTTP/1.1 200 OK\ncontent-length:5\n\nhello", 200, b"hello", False),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
    "close": (b"HTTP/1.1 404 Gone\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nno", 404, b"no", True),
    "close in a list (9.3)": (OK + b"Connection: te, close\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "HTTP/1.0 (9.3)": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", True),
    "HTTP/1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
                      200, b"x", False),
    "chunked (7.1)": (CHUNKED + b"\r\n" + BODY, 200, b"wiki0123456789", False),
    "chunked wins over length (6.3)": (CHUNKED + b"Content-Length: 99\r\n\r\n"
                                       b"1\r\na\r\n0\r\n\r\n", 200, b"a", False),
    "interim (RFC 9110 15.2)": (HINTS + OK + b"Content-Length: 1\r\n\r\nz", 200, b"z", False),
    "no content": (b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n", 204, b"", False),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, b"", False),
    "long field": (OK + b"X: " + b"v" * 5000 + b"\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", False),
}


@pytest.mark.parametrize("name", ANSWERS)
@given(cuts=st.lists(st.integers(0, 6000), max_size=8))
def test_the_end_is_found_in_any_portions(name: str, cuts: list[int]) -> None:
    octets, status, body, closes = ANSWERS[name]
    edges = sorted({0, len(octets), *(min(cut, len(octets)) for cut in cuts)})
    probe = ResponseProbe()
    for start, end in pairwise(edges):
        assert not probe.done
        assert probe.feed(octets[start:end]) == end - start
    assert (probe.done, probe.status, probe.body, probe.closes) == (True, status, body, closes)


@pytest.mark.parametrize("name", ANSWERS)
def test_octet_by_octet(name: str) -> None:
    octets, status, body, _ = ANSWERS[name]
    probe = ResponseProbe()
    for at in range(len(octets)):
        probe.feed(octets[at:at + 1])
    assert (probe.done, probe.status, probe.body) == (True, status, body)


def test_octets_behind_an_answer_are_left_for_the_next() -> None:
    answer = ANSWERS["length"][0]
    assert ResponseProbe().feed(answer + b"HTTP/1.1 200") == len(answer)


def test_an_answer_to_head_has_no_body() -> None:
    probe = ResponseProbe(to_head=True)
    probe.feed(OK + b"Content-Length: 5\r\n\r\n")
    assert probe.done


def test_without_a_length_the_connection_s_end_is_the_end() -> None:
    probe = ResponseProbe()
    probe.feed(OK + b"\r\nall there is")
    assert not probe.done
    probe.end()
    assert (probe.done, probe.body, probe.closes) == (True, b"all there is", True)


@pytest.mark.parametrize("octets", [
    b"", OK, OK + b"Content-Length: 5\r\n\r\nhell",
    CHUNKED + b"\r\n4\r\nwiki\r\n",
])
def test_an_answer_that_is_cut_off_is_malformed(octets: bytes) -> None:
    probe = ResponseProbe()
    probe.feed(octets)
    probe.end()
    assert probe.malformed


@pytest.mark.parametrize("octets", [
    b"\r\n", b"HTTP/2 200 OK\r\n", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 099 No\r\n", b"HTTP/1.1 2000 OK\r\n",
    OK + b"Content-Length: -1\r\n", OK + b"Content-Length: 1,1\r\n",
    OK + b"Content-Length:\r\n", OK + b"Content-Length: 1234567890123456789\r\n",
    OK + b"Content-Length: 1\r\nContent-Length: 2\r\n",
    CHUNKED + b"\r\n\r\n",
    CHUNKED + b"\r\nxyz\r\n",
    CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\n",
    CHUNKED + b"\r\n1\r\nab\r\n",
    OK + b"X: " + b"y" * 70000,
])
def test_what_is_not_http_is_malformed(octets: bytes) -> None:
    probe = ResponseProbe()
    probe.feed(octets)
    assert probe.malformed


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_octets_whatever_are_taken(portions: list[bytes]) -> None:
    probe = ResponseProbe()
    for portion in portions:
        assert probe.feed(OK * (portions[0] is portion) + portion) >= 0
