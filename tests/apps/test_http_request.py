"""The request parser: RFC 9112, each clause by its number, and any octets at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_http import DONE, HEAD_LIMIT, MORE, parse

GET, HEAD, REFUSED, UNKNOWN = 1, 2, 3, 4
PLAIN = 1


def request(line: str = "GET / HTTP/1.1", *fields: str) -> bytes:
    return "".join(f"{each}\r\n" for each in (line, *(fields or ("Host: a",)), "")).encode("latin-1")


def status(octets: bytes) -> int:
    return parse([octets])[0]


def test_the_common_request():
    octets = b"GET /file.html?a=1 HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"
    result, found = parse([octets + b"GET /next"])
    assert result == DONE
    assert found["parsed"] == len(octets)
    assert (found["method"], found["path"], found["query"]) == (GET, b"/file.html", b"a=1")
    assert found["line"] == b"GET /file.html?a=1 HTTP/1.1"
    assert found["flags"] == PLAIN and found["persists"]


@pytest.mark.parametrize(("line", "method"), [
    ("GET / HTTP/1.1", GET), ("HEAD / HTTP/1.1", HEAD), ("POST / HTTP/1.1", REFUSED),
    ("DELETE /a HTTP/1.1", REFUSED),
    ("OPTIONS * HTTP/1.1", REFUSED), ("CONNECT a:443 HTTP/1.1", REFUSED), ("PATCH / HTTP/1.1", REFUSED),
    ("get / HTTP/1.1", UNKNOWN), ("BREW /pot HTTP/1.1", UNKNOWN), ("GETS / HTTP/1.1", UNKNOWN),
])
def test_methods_are_case_sensitive_tokens(line, method):
    """RFC 9110 9.1"""
    result, found = parse([request(line)])
    assert (result, found["method"]) == (DONE, method)


@pytest.mark.parametrize(("target", "path", "query"), [
    ("/", b"/", b""), ("/a/b.txt", b"/a/b.txt", b""), ("/?", b"/", b""), ("/a?b?c", b"/a", b"b?c"),
    ("http://host/a?q", b"/a", b"q"), ("HTTP://host:80/a", b"/a", b""), ("https://[::1]/a", b"/a", b""),
    ("http://host", b"", b""), ("http://host?q", b"", b"q"),
])
def test_target_forms_that_are_served(target, path, query):
    """RFC 9112 3.2.1, 3.2.2"""
    result, found = parse([request(f"GET {target} HTTP/1.1")])
    assert (result, found["path"], found["query"]) == (DONE, path, query)


@pytest.mark.parametrize("target", ["*", "host:443", "a/b", "http:///a", "http://", "ftp://host/",
    "http://u@h/", "/a#b"])
def test_other_targets_are_bad(target):
    assert status(request(f"GET {target} HTTP/1.1")) == 400


@pytest.mark.parametrize(("path", "plain"), [
    ("/a.b/c", True), ("/a..b", True), ("/a%20b", False), ("/./a", False), ("/a//b", False), ("//a", False),
    ("/a/..", False), ("/.git", False),
])
def test_a_plain_path_needs_no_decoding(path, plain):
    assert bool(parse([request(f"GET {path} HTTP/1.1")])[1]["flags"] & PLAIN) == plain


@pytest.mark.parametrize(("line", "expected"), [
    ("GET / HTTP/1.0", DONE), ("GET / HTTP/1.9", DONE), ("GET / HTTP/2.0", 505), ("GET / HTTP/0.9", 505),
    ("PRI * HTTP/2.0", 505), ("GET / HTTP/1", 400), ("GET / http/1.1", 400), ("GET / HTTP/1.10", 400),
    ("GET / HTTP/1.1 ", 400), ("GET /", 400), ("GET", 400), ("GET  / HTTP/1.1", 400), ("GET / HTTP/x.1", 400),
    ("GET /\ta HTTP/1.1", 400), (" GET / HTTP/1.1", 400), ("G\x00T / HTTP/1.1", 400),
    ("GET /\xe4 HTTP/1.1", 400),
])
def test_request_lines(line, expected):
    """RFC 9112 2.3, 3; RFC 9110 15.6.6"""
    assert status(request(line)) == expected


def test_what_is_no_request_is_refused_at_its_first_octet():
    """A TLS client that speaks to the wrong port must not wait for the timeout."""
    assert status(b"\x16") == 400


def test_empty_lines_before_the_request():
    """RFC 9112 2.2"""
    assert parse([b"\r\n" + request()])[0] == DONE
    assert status(b"\r\n\r\n\r\n" + request()) == 400
    assert status(b"\n" + request()) == 400


@pytest.mark.parametrize(("fields", "expected"), [
    (("Host: a",), DONE), (("hOST:a:80",), DONE), (("Host:",), DONE), (("Host: [::1]:80",), DONE),
    (("X: y",), 400), (("Host: a", "Host: a"), 400), (("Host: a b",), 400), (("Host: a/b",), 400),
    (("Host: user@a",), 400), (("Host: a", "X : y"), 400), (("Host: a", ": y"), 400),
    (("Host: a", " folded"), 400),
    (("Host: a", "X: y", "\tfolded"), 400), (("Host: a", "no colon"), 400), (("Host: a", "X: \x00"), 400),
    (("Host: a", "X: a\rb"), 400), (("Host: a", "X: a\nb"), 400), (("Host: a", "X: \xe4\t \xff"), DONE),
    (("Host: a", "X:"), DONE),
])
def test_fields(fields, expected):
    """RFC 9112 3.2, 5.1, 5.2; RFC 9110 5.5"""
    assert status(request("GET / HTTP/1.1", *fields)) == expected


def test_http_1_0_needs_no_host():
    assert status(b"GET / HTTP/1.0\r\n\r\n") == DONE
    assert status(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n") == 400


@pytest.mark.parametrize(("version", "connection", "persists"), [
    ("1.1", None, True), ("1.1", "close", False), ("1.1", "Close", False), ("1.1", "a, close ,b", False),
    ("1.1", "keep-alive, close", False), ("1.1", "closed", True), ("1.0", None, False),
    ("1.0", "Keep-Alive", True),
    ("1.0", "keep-alive, close", False),
])
def test_persistence(version, connection, persists):
    """RFC 9112 9.3"""
    fields = ("Host: a",) if connection is None else ("Host: a", f"Connection: {connection}")
    assert parse([request(f"GET / HTTP/{version}", *fields)])[1]["persists"] == persists


@pytest.mark.parametrize(("fields", "expected"), [
    (("Content-Length: 5",), DONE), (("Content-Length: 05",), DONE), (("Content-Length: +5",), 400),
    (("Content-Length: -1",), 400), (("Content-Length:",), 400), (("Content-Length: 5, 5",), 400),
    (("Content-Length: 0x5",), 400), (("Content-Length: 5", "Content-Length: 5"), 400),
    (("Content-Length: 9999999999999999999",), 400), (("Transfer-Encoding: chunked",), DONE),
    (("Transfer-Encoding: Chunked",), DONE), (("Transfer-Encoding: gzip, chunked",), 501),
    (("Transfer-Encoding: xchunked",), 501),
    (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    (("Transfer-Encoding: chunked", "Content-Length: 5"), 400),
    (("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
])
def test_a_body_has_one_length_or_the_request_is_refused(fields, expected):
    """RFC 9112 6.1, 6.3: what two readers could frame in two ways is refused"""
    assert status(request("GET / HTTP/1.1", "Host: a", *fields)) == expected


def test_transfer_encoding_from_http_1_0_is_refused():
    """RFC 9112 6.1"""
    assert status(request("GET / HTTP/1.0", "Transfer-Encoding: chunked")) == 400


def test_a_chunked_body_ends_the_connection():
    assert not parse([request("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")])[1]["persists"]


def test_conditions_are_found_by_name():
    fields = ["If-Match: 1", "If-Unmodified-Since: 2", "IF-NONE-MATCH: 3", "if-modified-since: 4",
        "If-Range: 5", "Range: 6"]
    found = parse([request("GET / HTTP/1.1", "Host: a", *fields)])[1]
    assert found["conditions"] == [b"1", b"2", b"3", b"4", b"5", b"6"]


@pytest.mark.parametrize(("octets", "expected"), [
    (b"GET /" + b"a" * 8165 + b" HTTP/1.1\r\nHost: a\r\n\r\n", DONE),
    (b"GET /" + b"a" * 8180 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET /" + b"a" * 9000, 414), (b"G" * 9000, 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 16365 + b"\r\n\r\n", DONE),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 16370 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000, 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * 99 + b"\r\n", DONE),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * 100 + b"\r\n", 431),
])
def test_limits(octets, expected):
    """RFC 9112 3, RFC 6585 5"""
    assert status(octets) == expected


def test_the_parser_has_decided_within_head_limit():
    worst = b"\r\n\r\nGET /" + b"a" * 8165 + b" HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT
    for octets in (worst, b"A" * HEAD_LIMIT, b"\r\n\r\n" + b"A" * HEAD_LIMIT):
        assert status(octets[:HEAD_LIMIT]) >= 400


WHOLE = request("GET /a%20b?c HTTP/1.1", "Host: example:80", "Connection: keep-alive",
    "If-None-Match: \"x\"", "Range: bytes=0-1")


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
def test_split_in_two_anywhere(at):
    assert parse([WHOLE[:at], WHOLE[at:]]) == parse([WHOLE])


def test_octet_by_octet():
    assert parse([WHOLE[at:at + 1] for at in range(len(WHOLE))]) == parse([WHOLE])


PIECES = st.sampled_from([
    b"GET ", b"HEAD ", b"POST ", b"/", b"/a", b"%2e%2e", b"?", b" ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b"\r\n", b"\r", b"\n",
    b"Host: a\r\n", b"Host", b":", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Range: bytes=1-\r\n",
    b"Connection: close\r\n", b"\x00", b"\xff", b"http://h", b"\t",
])


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=20), st.data())
def test_any_octets_split_anyhow_give_the_same_result(pieces, data):
    """Except that a fault in a line may be seen only when the line ends."""
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    at_once, found = parse([whole])
    in_parts, found_in_parts = parse(parts)
    assert at_once == in_parts or (at_once == 400 and in_parts == MORE)
    if at_once == DONE:
        assert found == found_in_parts


@given(st.binary(max_size=200))
def test_any_octets_give_a_result(octets):
    assert status(octets) in (MORE, DONE, 400, 414, 431, 501, 505)
