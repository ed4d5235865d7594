"""`underpass load` over AF_XDP against nginx on the kernel's TCP, on a real veth pair."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.bench.servers import Nginx
from underpass.linux.namespaces import Pair

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]
LARGE = bytes(range(256)) * 8192


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    root = folder / "root"
    root.mkdir()
    (root / "64.txt").write_bytes(b"x" * 64)
    (root / "index.html").write_bytes(b"index")
    (root / "large").write_bytes(LARGE)
    with Pair() as pair:
        yield Nginx(pair, root, folder, None)


def load(nginx: Nginx, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    client = nginx.pair.client
    return client.run(sys.executable, "-m", "underpass.cli", "load", url, "-i", client.interface, *words,
                      check=False)


@pytest.mark.parametrize("words", [(), ("--no-keepalive",), ("--rate", "500")])
def test_every_request_is_answered(nginx: Nginx, words: tuple[str, ...]) -> None:
    done = load(nginx, nginx.url("64.txt"), "-c", "5", "-n", "200", "--json", *words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["requests"], result["errors"], result["status"]) == (200, {}, {"2xx": 200})
    assert result["path"].startswith(nginx.pair.client.interface)


def test_over_ipv6(nginx: Nginx) -> None:
    conf = nginx.scratch / "nginx.conf"
    conf.write_text(conf.read_text().replace("listen 80 ", "listen [::]:80; listen 80 "))
    nginx.process.send_signal(1)            # SIGHUP: read the configuration again
    done = load(nginx, f"http://[{nginx.pair.server.address6}]/64.txt", "-c", "2", "-n", "20", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == 20


def test_a_file_is_fetched_byte_for_byte(nginx: Nginx, tmp_path: Path) -> None:
    done = load(nginx, nginx.url("large"), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == LARGE


def test_nothing_stays_attached_and_the_kernel_has_its_ports_back(nginx: Nginx) -> None:
    client = nginx.pair.client
    load(nginx, nginx.url("64.txt"), "-n", "1")
    shown = json.loads(client.run("ip", "-j", "link", "show", "dev", client.interface).stdout)
    assert "xdp" not in shown[0]
    assert client.run("sysctl", "-n", "net.ipv4.ip_local_reserved_ports").stdout.strip() == ""


@pytest.mark.parametrize(("name", "words", "said"), [
    ("missing", ("-o", "/dev/null"), "the server answers 4xx"),
    ("64.txt", ("--source", "192.0.2.7"), "192.0.2.7 is not an address of"),
    ("64.txt", ("-c", "100000"), "100000 connections need 5 addresses to connect from"),
])
def test_an_error_is_one_line(nginx: Nginx, name: str, words: tuple[str, ...], said: str) -> None:
    done = load(nginx, nginx.url(name), *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_there(nginx: Nginx) -> None:
    done = load(nginx, f"http://{nginx.pair.server.address}:81/", "-c", "3")
    assert done.returncode == 1
    assert done.stderr == f"underpass: no answer from {nginx.pair.server.address}:81: " \
                          "3 refused (Connection refused)\n"
