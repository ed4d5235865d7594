"""Paths: RFC 3986 2.1, 5.2.4. Whatever comes, no `..` is left in what is looked up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_http import decode_path, encode_path

BAD, LONG = -1, -2


@pytest.mark.parametrize(("path", "decoded"), [
    (b"", b""), (b"/", b""), (b"/a", b"a"), (b"/a/", b"a/"), (b"/a/b.txt", b"a/b.txt"), (b"//a///b", b"a/b"),
    (b"/a%20b", b"a b"), (b"/%41%c3%a4", b"A\xc3\xa4"), (b"/./a/./b/.", b"a/b/"), (b"/a/../b", b"b"),
    (b"/a/b/..", b"a/"),
    (b"/a/b/../../c", b"c"), (b"/a/%2e%2e/b", b"b"), (b"/a%2fb", b"a/b"), (b"/.../a", b".../a"),
    (b"/.a/..b", b".a/..b"),
    (b"/a/..", b""), (b"/a+b", b"a+b"),
])
def test_decoded_and_normalised(path, decoded):
    assert decode_path(path) == decoded


@pytest.mark.parametrize("path", [
    b"/..", b"/../etc/passwd", b"/a/../../b", b"/%2e%2e/a", b"/.%2e/a", b"/%2e./a", b"/a%2f..%2f..%2fb",
    b"/a%00b", b"/%",
    b"/%4", b"/%zz", b"/a%", b"/%2",
])
def test_refused(path):
    assert decode_path(path) == BAD


def test_too_long():
    assert decode_path(b"/" + b"a" * 1023) == b"a" * 1023
    assert decode_path(b"/" + b"a" * 1024) == LONG


@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2f", b"%2e", b"%", b"%00", b"\xff",
    b"b" * 100]), max_size=40))
def test_nothing_climbs(pieces):
    decoded = decode_path(b"/" + b"".join(pieces))
    if isinstance(decoded, bytes):
        segments = decoded.split(b"/")
        assert b".." not in segments and b"." not in segments and b"\0" not in decoded
        assert all(segments[:-1]), "no empty segment but behind a last slash"


@given(st.binary(max_size=300))
def test_encoding_goes_back(key):
    text = encode_path(key)
    assert text.isascii() and not set(text) & set(b" \r\n\"<>#?")
    if b"\0" not in key and b"%2F" not in text and not any(part in (b"", b".",
        b"..") for part in key.split(b"/")):
        assert decode_path(b"/" + text) == key
