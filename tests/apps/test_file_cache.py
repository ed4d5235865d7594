"""The file cache: what it finds, what it refuses, what it notices, and that it stays within its limits."""

import os
from pathlib import Path

import pytest

from underpass.apps.file_cache import FileCache
from underpass.testing.probe_http import CacheProbe, media_type

MS = 1_000_000


def probe(directory: Path, **limits: int) -> CacheProbe:
    return CacheProbe(FileCache(str(directory), **limits))


def settled(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def body(cache: CacheProbe, path: bytes, now_ns: int = 0, **kwargs: int) -> bytes:
    status, entry = cache.find(path, now_ns, **kwargs)
    assert status == 200
    return cache.read(entry, 0, 1 << 20)


def test_a_small_file_is_kept_in_memory_with_its_head(tmp_path):
    file = settled(tmp_path / "a.html", b"hello")
    os.utime(file, ns=(0, 784111777_000000000))
    cache = probe(tmp_path)
    status, entry = cache.find(b"a.html")
    assert status == 200 and cache.in_memory(entry)
    assert cache.read(entry, 0, 100) == b"hello"
    head = cache.head(entry).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5\r\n")
    assert "\r\nContent-Type: text/html\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in head
    assert "\r\nAccept-Ranges: bytes\r\n" in head
    assert head.endswith('"\r\n\r\n')
    assert f"\r\nETag: {cache.etag(entry).decode()}\r\n" in head
    assert b"Content-Length" not in cache.fields(entry) and cache.fields(entry).endswith(b'"\r\n')
    assert cache.cache.stats()["descriptors"] == 0


def test_a_large_file_is_read_from_its_descriptor(tmp_path):
    content = os.urandom(70000)
    settled(tmp_path / "large", content)
    cache = probe(tmp_path)
    status, entry = cache.find(b"large")
    assert status == 200 and not cache.in_memory(entry)
    assert cache.read(entry, 0, 70000) == content
    assert cache.read(entry, 69990, 100) == content[69990:]
    assert cache.cache.stats()["descriptors"] == 1


def test_directories(tmp_path):
    settled(tmp_path / "index.html", b"root")
    settled(tmp_path / "sub/index.html", b"sub")
    (tmp_path / "empty").mkdir()
    cache = probe(tmp_path)
    assert body(cache, b"") == b"root"
    assert body(cache, b"sub/") == b"sub"
    assert cache.find(b"sub")[0] == 301
    assert cache.find(b"empty/")[0] == 404
    assert cache.find(b"index.html/")[0] == 404
    assert b"Content-Type: text/html\r\n" in cache.head(cache.find(b"")[1])


def test_no_path_leaves_the_directory(tmp_path):
    secret = settled(tmp_path / "secret", b"secret")
    inside = tmp_path / "www"
    settled(inside / "real", b"real")
    (inside / "absolute").symlink_to(secret)
    (inside / "relative").symlink_to("../secret")
    (inside / "up").symlink_to("..")
    (inside / "self").symlink_to("self")
    (inside / "fine").symlink_to("real")
    cache = probe(inside)
    for path in (b"absolute", b"relative", b"up/secret", b"up/www/real", b"self", b"../secret",
        b"/etc/passwd"):
        assert cache.find(path)[0] == 404, path
    assert cache.cache.stats()["outside"] == 6
    assert body(cache, b"fine") == b"real"


def test_a_link_that_comes_to_lead_outside_is_no_longer_served(tmp_path):
    """Also when it leads to the very file that was served."""
    inside = tmp_path / "www"
    file = settled(inside / "a", b"a")
    cache = probe(inside)
    assert cache.find(b"a", 0)[0] == 200
    file.rename(tmp_path / "a")
    file.symlink_to("../a")
    assert cache.find(b"a", 2 * MS)[0] == 404


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    cache = probe(tmp_path)
    assert cache.find(b"fifo")[0] == 404
    assert cache.find(b"missing")[0] == 404
    assert cache.find(b"n" * 1000)[0] == 404
    assert cache.cache.stats()["not_found"] == 3


def test_a_changed_file_is_served_anew(tmp_path):
    file = settled(tmp_path / "a", b"old")
    cache = probe(tmp_path)
    assert body(cache, b"a", 0) == b"old"
    file.write_bytes(b"other")
    assert body(cache, b"a", MS - 1) == b"old", "no look at the file within a millisecond"
    assert body(cache, b"a", MS) == b"other"
    other = settled(tmp_path / "b", b"third")
    other.replace(file)
    assert body(cache, b"a", 3 * MS) == b"third"
    file.unlink()
    assert cache.find(b"a", 5 * MS)[0] == 404
    assert cache.cache.stats()["entries"] == 0
    assert cache.cache.stats()["memory_bytes"] == 0


def test_a_file_that_changed_just_now_is_read_again(tmp_path):
    """Two changes within one tick of the file system's clock leave the same time stamps behind."""
    file = settled(tmp_path / "a", b"one")
    stamps = file.stat()
    cache = probe(tmp_path)
    wall = stamps.st_ctime_ns + 10 * MS
    assert body(cache, b"a", 0, wall_ns=wall) == b"one"
    assert body(cache, b"a", 2 * MS, wall_ns=wall) == b"one"
    assert cache.cache.stats()["loads"] == 2
    assert body(cache, b"a", 4 * MS, wall_ns=wall + 30 * MS) == b"one"
    assert body(cache, b"a", 6 * MS, wall_ns=wall + 30 * MS) == b"one"
    assert cache.cache.stats()["loads"] == 3, "settled: a look is enough"


def test_a_pinned_entry_keeps_its_content_though_the_file_is_replaced(tmp_path):
    settled(tmp_path / "a", b"A" * 70000)
    cache = probe(tmp_path)
    _, old = cache.find(b"a", 0)
    cache.pin(old)
    settled(tmp_path / "new", b"B" * 80000).replace(tmp_path / "a")
    _, new = cache.find(b"a", 2 * MS)
    assert new != old
    assert cache.read(old, 69999, 10) == b"A" and cache.read(new, 79999, 10) == b"B"
    assert cache.cache.stats()["descriptors"] == 2
    cache.unpin(old)
    assert cache.cache.stats()["descriptors"] == 1 and cache.cache.stats()["entries"] == 1


def test_a_file_that_shrinks_gives_fewer_octets(tmp_path):
    file = settled(tmp_path / "a", b"A" * 70000)
    cache = probe(tmp_path)
    _, entry = cache.find(b"a", 0)
    os.truncate(file, 50000)
    assert len(cache.read(entry, 49000, 5000)) == 1000


def test_entries_are_bounded_and_the_used_ones_stay(tmp_path):
    for number in range(50):
        settled(tmp_path / str(number), b"%d" % number)
    cache = probe(tmp_path, entries=8)
    for number in range(50):
        assert body(cache, b"%d" % number) == b"%d" % number
        assert body(cache, b"0") == b"0"
    stats = cache.cache.stats()
    assert stats["entries"] == 8
    assert stats["loads"] < 60, "the entry in use was not evicted each time round"


def test_memory_and_descriptors_are_bounded(tmp_path):
    for number in range(20):
        settled(tmp_path / f"m{number}", b"m" * 5000)
        settled(tmp_path / f"d{number}", b"d" * 9000)
    cache = probe(tmp_path, memory=20000, descriptors=3, small_octets=8000)
    for number in range(20):
        assert cache.find(b"m%d" % number)[0] == 200
        assert cache.find(b"d%d" % number)[0] == 200
        assert cache.cache.stats()["memory_bytes"] <= 20000
        assert cache.cache.stats()["descriptors"] <= 3


def test_when_all_is_being_sent_a_new_file_must_wait(tmp_path):
    for name in ("a", "b", "c"):
        settled(tmp_path / name, b"x")
    cache = probe(tmp_path, entries=2)
    pinned = [cache.find(name)[1] for name in (b"a", b"b")]
    for entry in pinned:
        cache.pin(entry)
    assert cache.find(b"c")[0] == 503
    assert cache.cache.stats()["full"] == 1
    cache.unpin(pinned[0])
    assert cache.find(b"c")[0] == 200


def test_descriptors_are_closed_with_the_cache(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    settled(tmp_path / "a", b"A" * 70000)
    cache = probe(tmp_path)
    cache.find(b"a")
    del cache
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_empty_file(tmp_path):
    settled(tmp_path / "a", b"")
    assert body(probe(tmp_path), b"a") == b""


def test_a_directory_that_cannot_be_served(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileCache(str(tmp_path / "missing"))
    with pytest.raises(NotADirectoryError):
        FileCache(str(settled(tmp_path / "file", b"")))
    with pytest.raises(ValueError, match="69632 bytes"):
        FileCache(str(tmp_path), memory=5000)


@pytest.mark.parametrize(("path", "expected"), [
    (b"a.html", "text/html"), (b"a.HTML", "text/html"), (b"a/b.tar.gz", "application/gzip"),
    (b"a.js", "text/javascript"),
    (b"png", "application/octet-stream"), (b"a.d/png", "application/octet-stream"),
    (b"a.", "application/octet-stream"),
    (b"a.unknownextension", "application/octet-stream"), (b".png", "image/png"),
    (b"", "application/octet-stream"),
])
def test_media_types(path, expected):
    assert media_type(path) == expected
