"""The HTTP server end to end over the virtual network: RFC 9110, RFC 9112, limits and timeouts."""

import os
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from tests.apps.http_peer import MS, SECOND, Web, parts, split

from underpass.apps.access_log import AccessLog
from underpass.apps.file_cache import FileCache


@pytest.fixture
def www(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    root.mkdir()
    (root / "index.html").write_bytes(b"<h1>hello</h1>\n")
    (root / "a.txt").write_bytes(b"0123456789")
    (root / "large").write_bytes(os.urandom(300_000))
    (root / "sub").mkdir()
    (root / "sub" / "index.html").write_bytes(b"sub")
    for path in root.rglob("*"):
        os.utime(path, ns=(0, 784111777 * SECOND))
    return root


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1",
        close: bool = True) -> bytes:  # fmt: skip
    ending = ("Connection: close",) if close else ()
    lines = (f"{method} {path} HTTP/{version}", "Host: h", *ending, *fields, "")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def test_a_page(www):
    with Web(www) as web:
        line, fields, body = parts(web.ask(get("/")))
    assert line == "HTTP/1.1 200 OK"
    assert body == b"<h1>hello</h1>\n"
    assert fields["content-type"] == "text/html"
    assert fields["content-length"] == "15"
    assert fields["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert fields["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert fields["connection"] == "close"
    assert fields["accept-ranges"] == "bytes"


def test_over_ipv6(www):
    with Web(www, family=6) as web:
        assert parts(web.ask(get("/a.txt")))[2] == b"0123456789"


@pytest.mark.parametrize(("request_octets", "status"), [
    (get("/missing"), 404), (get("/a.txt/"), 404), (get("/sub/../a.txt"), 200), (get("/%61.txt"), 200),
    (get("/../a.txt"), 400), (get("/%zz"), 400), (get("/" + "a" * 2000), 414), (get("/" + "a" * 9000), 414),
    (get("/", "X: " + "a" * 17000), 431), (get("/", method="POST"), 405), (get("/", method="BREW"), 501),
    (get("/", version="2.0"), 505), (get("*"), 400), (b"\x16\x03\x01", 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
    (get("/", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
    (get("/a.txt", "Range: bytes=99-"), 416),
    (get("/a.txt", 'If-None-Match: *'), 304), (get("/a.txt", 'If-Match: "x"'), 412), (get("/sub"), 301),
    (get("/a.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"), 304), (get("http://h/a.txt"), 200),
])  # fmt: skip
def test_status(www, request_octets, status):
    """Each is one whole response on a connection that the server ends."""
    with Web(www) as web:
        (line, fields, body), = split(web.ask(request_octets))
        assert line.split(" ")[1] == str(status)
        assert fields["connection"] == "close"
        assert "date" in fields
        assert len(body) == int(fields.get("content-length", 0))
        assert web.run(lambda: web.http()["open"] == 0)


def test_405_says_what_is_allowed(www):
    """RFC 9110 15.5.6"""
    with Web(www) as web:
        assert parts(web.ask(get("/", method="PUT")))[1]["allow"] == "GET, HEAD"


def test_redirection_to_a_directory(www):
    (www / "a b").mkdir()
    with Web(www) as web:
        assert parts(web.ask(get("/sub?q=1")))[1]["location"] == "/sub/?q=1"
        assert parts(web.ask(get("//sub")))[1]["location"] == "/sub/", "not a host's name"
        assert parts(web.ask(get("/a%20b")))[1]["location"] == "/a%20b/"


def test_head_is_get_without_the_body(www):
    """RFC 9110 9.3.2"""
    with Web(www) as web:
        for path in ("/a.txt", "/large", "/missing", "/sub"):
            head = parts(web.ask(get(path, method="HEAD")))
            line, fields, body = parts(web.ask(get(path)))
            assert head == (line, fields, b"") and len(body) > 0


def test_ranges(www):
    """RFC 9110 14"""
    large = (www / "large").read_bytes()
    with Web(www) as web:
        line, fields, body = parts(web.ask(get("/a.txt", "Range: bytes=2-4")))
        assert (line, body) == ("HTTP/1.1 206 Partial Content", b"234")
        assert fields["content-range"] == "bytes 2-4/10" and fields["content-length"] == "3"
        assert fields["content-type"] == "text/plain" and "etag" in fields
        assert parts(web.ask(get("/large", "Range: bytes=100000-250000")))[2] == large[100000:250001]
        assert parts(web.ask(get("/large", "Range: bytes=-7")))[2] == large[-7:]
        assert parts(web.ask(get("/a.txt", "Range: bytes=10-")))[1]["content-range"] == "bytes */10"
        assert parts(web.ask(get("/a.txt", "Range: bytes=0-1,4-5")))[2] == b"0123456789"


def test_the_tag_of_one_response_is_a_condition_of_the_next(www):
    with Web(www) as web:
        tag = parts(web.ask(get("/a.txt")))[1]["etag"]
        line, fields, body = parts(web.ask(get("/a.txt", f"If-None-Match: {tag}")))
        assert (line, fields["etag"], body) == ("HTTP/1.1 304 Not Modified", tag, b"")
        assert " 206 " in parts(web.ask(get("/a.txt", f"If-Range: {tag}", "Range: bytes=0-0")))[0]


@pytest.mark.parametrize("size", [0, 1, 1000, 1447, 1448, 1449, 4000, 65535, 65536, 65537, 1_000_000])
def test_every_octet_arrives(www, size):
    content = os.urandom(size)
    (www / "file").write_bytes(content)
    with Web(www) as web:
        for _ in range(2):
            line, fields, body = parts(web.ask(get("/file")))
            assert line == "HTTP/1.1 200 OK" and int(fields["content-length"]) == size
            assert body == content
        assert web.http()["body_bytes"] == 2 * size


def test_every_octet_arrives_in_spite_of_loss(www):
    large = (www / "large").read_bytes()
    with Web(www, network={"drop": 0.02, "duplicate": 0.02, "reorder": 0.02}) as web:
        for _ in range(5):
            assert parts(web.ask(get("/large")))[2] == large


def test_keep_alive_and_pipelining(www):
    """RFC 9112 9.3, 9.3.2: responses in the order of the requests."""
    paths = ["/a.txt", "/large", "/", "/missing", "/sub/", "/large"] * 3
    with Web(www) as web:
        browser = web.connect()
        browser.send(b"".join(get(path, close=False) for path in paths) + get("/a.txt"))
        assert web.run(lambda: browser.ended)
        responses = split(browser.received)
        assert [line for line, _, _ in responses[:6]] == [
            "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found",
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200 OK",
        ]  # fmt: skip
        assert len(responses) == 19
        assert responses[-2][2] == (www / "large").read_bytes() and responses[-1][2] == b"0123456789"
        assert "connection" not in responses[0][1]
        assert web.http()["connections"] == 1 and web.http()["requests"] == 19


def test_http_1_0(www):
    """RFC 9112 9.3, C.2.2"""
    with Web(www) as web:
        assert parts(web.ask(b"GET /a.txt HTTP/1.0\r\n\r\n"))[1]["connection"] == "close"
        browser = web.connect()
        browser.send(b"GET /a.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert web.run(lambda: browser.received.endswith(b"0123456789"))
        assert parts(browser.received)[1]["connection"] == "keep-alive"
        assert not browser.ended


def test_a_request_octet_by_octet(www):
    with Web(www) as web:
        browser = web.connect()
        web.run(for_ns=MS)
        for octet in get("/a.txt") + b"G":
            browser.send(bytes([octet]))
            web.run(for_ns=MS)
        assert web.run(lambda: browser.ended)
        assert parts(browser.received)[2] == b"0123456789"
        assert web.http()["gathered"] == 1 and web.http()["blocks"] == 0


def test_requests_cut_anywhere(www):
    stream = get("/a.txt", close=False) + get("/sub/", close=False) + get("/")
    with Web(www) as web:
        for cut in range(1, len(stream), 7):
            browser = web.connect()
            web.run(for_ns=MS)
            browser.send(stream[:cut])
            web.run(for_ns=MS)
            browser.send(stream[cut:])
            assert web.run(lambda browser=browser: browser.ended)
            bodies = [body for _, _, body in split(browser.received)]
            assert bodies == [b"0123456789", b"sub", b"<h1>hello</h1>\n"]
        assert web.http()["blocks"] == 0 and web.http()["open"] == 0


def test_the_body_of_a_request_is_not_the_next_request(www):
    """RFC 9112 6.3, 9.3: it is read and thrown away, or the connection ends."""
    smuggled = get("/missing")
    with Web(www) as web:
        browser = web.connect()
        browser.send(get("/a.txt", f"Content-Length: {len(smuggled)}", close=False) + smuggled + get("/sub/"))
        assert web.run(lambda: browser.ended)
        assert [body for _, _, body in split(browser.received)] == [b"0123456789", b"sub"]
        chunked = get("/", "Transfer-Encoding: chunked", method="POST", close=False)
        chunked += b"5\r\nhello\r\n0\r\n\r\n"
        (line, fields, _), = split(web.ask(chunked + get("/a.txt")))
        assert line == "HTTP/1.1 405 Method Not Allowed" and fields["connection"] == "close"


def test_a_client_that_closes_its_side_still_gets_the_response(www):
    large = (www / "large").read_bytes()
    with Web(www) as web:
        browser = web.connect()
        browser.send(get("/large", close=False))
        web.run(for_ns=0)
        browser.finish()
        assert web.run(lambda: browser.ended)
        assert parts(browser.received)[2] == large and not browser.reset
        assert web.run(lambda: web.http()["open"] == 0)


def test_an_error_reaches_a_client_that_goes_on_sending(www):
    """RFC 9112 9.6: no reset takes the response away."""
    with Web(www) as web:
        browser = web.connect()
        browser.send(b"BAD\r\n\r\n" + b"x" * 100_000)
        assert web.run(lambda: browser.ended)
        assert " 400 " in parts(browser.received)[0] and not browser.reset


def test_a_slow_request_times_out(www):
    """RFC 9110 15.5.9"""
    with Web(www, header_timeout_s=10) as web:
        browser = web.connect()
        for octet in b"GET / HTTP/1.1\r\nHo":
            browser.send(bytes([octet]))
            web.run(for_ns=500 * MS)
            assert not browser.received
        assert web.run(lambda: browser.ended, for_ns=4 * SECOND)
        assert " 408 " in parts(browser.received)[0]
        assert web.http()["header_timeouts"] == 1


def test_a_connection_without_requests_times_out(www):
    with Web(www, header_timeout_s=10, idle_timeout_s=75) as web:
        silent, idle = web.connect(), web.connect()
        idle.send(get("/a.txt", close=False))
        assert web.run(lambda: silent.ended, for_ns=12 * SECOND)
        assert silent.received == b"" and not idle.ended
        web.run(for_ns=60 * SECOND)
        assert not idle.ended
        assert web.run(lambda: idle.ended, for_ns=10 * SECOND)
        assert web.http()["idle_timeouts"] == 1 and web.http()["open"] == 0


def test_a_silent_connection_is_ended_though_nothing_else_happens(www):
    with Web(www, header_timeout_s=10) as web:
        silent = web.connect()
        assert web.run(lambda: silent.ended, for_ns=12 * SECOND)


def test_a_client_that_does_not_read_is_given_up(www):
    with Web(www, send_timeout_s=20) as web:
        browser = web.connect()
        browser.paused = True
        browser.send(get("/large", close=False) * 20)
        web.run(for_ns=15 * SECOND)
        assert web.http()["open"] == 1
        assert web.run(lambda: web.http()["open"] == 0, for_ns=15 * SECOND)
        assert web.http()["send_timeouts"] == 1
        assert web.server.stats()["files"]["descriptors"] == 1


def test_the_requests_of_a_connection_may_be_limited(www):
    with Web(www, requests=3) as web:
        browser = web.connect()
        browser.send(get("/a.txt", close=False) * 10)
        assert web.run(lambda: browser.ended)
        responses = split(browser.received)
        assert len(responses) == 3 and responses[-1][1]["connection"] == "close" and not browser.reset


def test_when_all_blocks_are_in_use_the_slowest_request_gives_way(www):
    with Web(www, blocks=2) as web:
        browsers = []
        for _ in range(3):
            browsers.append(web.connect())
            browsers[-1].send(b"GET / HT")
            web.run(for_ns=MS)
        assert [browser.ended for browser in browsers] == [True, False, False]
        assert web.http()["no_block"] == 1
        for browser in browsers[1:]:
            browser.send(b"TP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert web.run(lambda: all(browser.ended for browser in browsers))
        assert all(parts(browser.received)[2] == b"<h1>hello</h1>\n" for browser in browsers[1:])


def test_a_changed_file_is_served_anew(www):
    with Web(www) as web:
        assert parts(web.ask(get("/a.txt")))[2] == b"0123456789"
        (www / "a.txt").write_bytes(b"other")
        web.run(for_ns=2 * MS)
        assert parts(web.ask(get("/a.txt")))[2] == b"other"
        (www / "a.txt").unlink()
        web.run(for_ns=2 * MS)
        assert " 404 " in parts(web.ask(get("/a.txt")))[0]


def test_a_file_replaced_during_its_transfer_is_sent_as_it_was(www):
    large = os.urandom(4_000_000)
    (www / "large").write_bytes(large)
    with Web(www) as web:
        browser = web.connect()
        browser.paused = True
        browser.send(get("/large"))
        web.run(for_ns=SECOND)
        (www / "new").write_bytes(b"new")
        (www / "new").replace(www / "large")
        browser.paused = False
        browser.read()
        assert web.run(lambda: browser.ended)
        assert parts(browser.received)[2] == large


def test_a_file_that_shrinks_during_its_transfer_ends_it_by_reset(www):
    """RFC 9112 8: a response that cannot be completed must not look complete."""
    (www / "large").write_bytes(bytes(4_000_000))
    with Web(www) as web:
        browser = web.connect()
        browser.paused = True
        browser.send(get("/large", close=False))
        web.run(for_ns=SECOND)
        os.truncate(www / "large", 1000)
        browser.paused = False
        browser.read()
        assert web.run(lambda: browser.ended)
        assert browser.reset and 0 < len(parts(browser.received)[2]) < 4_000_000
        assert web.http()["truncated"] == 1 and web.http()["open"] == 0


def test_the_date_follows_the_clock(www):
    with Web(www) as web:
        assert parts(web.ask(get("/a.txt")))[1]["date"].endswith("22:13:20 GMT")
        web.run(for_ns=3 * SECOND)
        browser = web.connect()
        browser.send(get("/a.txt", close=False))
        assert web.run(lambda: browser.received.endswith(b"0123456789"))
        assert parts(browser.received)[1]["date"].endswith("22:13:23 GMT")


@pytest.mark.parametrize("days", [-4000, -1, 1, 4000])
def test_a_clock_that_is_set_changes_the_date_and_nothing_else(www, days):
    """RFC 9110 6.6.1: timers and TCP go by another clock, which nobody sets."""
    with Web(www, idle_timeout_s=75) as web:
        browser = web.connect()
        browser.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert web.run(lambda: browser.received)
        web.run(for_ns=60 * SECOND)
        web.stepped_ns = days * 86400 * SECOND
        web.server.tick()
        web.run(for_ns=SECOND)              # a date holds for a second
        browser.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert web.run(lambda: len(split(browser.received)) == 2)
        before, after = (parsedate_to_datetime(fields["date"]) for _, fields, _ in split(browser.received))
        assert timedelta(0) <= after - before - timedelta(days=days) <= timedelta(seconds=62)
        web.run(for_ns=60 * SECOND)
        assert (web.http()["idle_timeouts"], web.http()["open"], browser.ended) == (0, 1, False)
        web.run(for_ns=20 * SECOND)
        assert (web.http()["idle_timeouts"], browser.ended) == (1, True)


def test_draining_ends_idle_connections_and_finishes_the_others(www):
    with Web(www) as web:
        idle, busy = web.connect(), web.connect()
        for browser in (idle, busy):
            browser.send(get("/a.txt", close=False))
        assert web.run(lambda: bool(idle.received and busy.received))
        busy.paused = True
        busy.send(get("/large", close=False))
        web.run(for_ns=10 * MS)
        web.server.drain()
        assert web.run(lambda: idle.ended)
        busy.paused = False
        busy.read()
        assert web.run(lambda: busy.ended)
        assert split(busy.received)[1][2] == (www / "large").read_bytes()
        assert web.http()["open"] == 0


def test_the_access_log(www, tmp_path):
    log = AccessLog(str(tmp_path / "log"))
    with Web(www, log=log) as web:
        for octets in (get("/a.txt"), get("/large"), get('/"\x7f'), b"\x16\x03\r\n"):
            web.ask(octets)
        stats = web.server.stats()["log"]
    log.close()
    assert stats == {"lines": 4, "dropped": 0}
    lines = (tmp_path / "log").read_text().splitlines()
    start = "10.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "
    assert lines[0].startswith(start + '"GET /a.txt HTTP/1.1" 200 10 ')
    assert lines[1].startswith(start + '"GET /large HTTP/1.1" 200 300000 ')
    assert lines[2].startswith(start + r'"GET /\x22\x7f HTTP/1.1" 400 ')
    assert lines[3].startswith(start + r'"\x16\x03" 400 ')
    assert all(line.rsplit(" ", 1)[1].isdigit() for line in lines)


def test_a_log_that_is_full_drops_lines_and_counts_them(tmp_path):
    log = AccessLog(str(tmp_path / "log"), ring_octets=4096)
    line = b"x" * 999 + b"\n"
    for _ in range(10_000):
        log.append(line)
    stats = log.stats()
    log.close()
    assert stats["lines"] + stats["dropped"] == 10_000 and stats["dropped"] > 0
    assert (tmp_path / "log").read_bytes() == line * stats["lines"]


def test_few_entries_and_many_files(www):
    for number in range(40):
        (www / str(number)).write_bytes(b"%d" % number * 30_000)
    with Web(www, files=FileCache(str(www), entries=4, descriptors=2)) as web:
        browsers = [web.connect() for _ in range(40)]
        for number, browser in enumerate(browsers):
            browser.send(get(f"/{number}"))
        assert web.run(lambda: all(browser.ended for browser in browsers))
        for number, browser in enumerate(browsers):
            line, _, body = parts(browser.received)
            assert " 503 " in line or body == b"%d" % number * 30_000
        assert web.server.stats()["files"]["entries"] <= 4


def test_nothing_is_left_behind(www):
    with Web(www) as web:
        for path in ("/a.txt", "/large", "/missing"):
            web.ask(get(path))
        assert web.run(web.host.is_idle)
