"""Byte-exact exchanges with Linux's TCP over jumbo frames, VLAN tags, link-local addresses, half-closed."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.netns import exchange

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, run, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

TEN_MB = 10_000_000
TAGGER = r"""
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TCI (3 << 13 | 1234)            /* priority 3, VLAN 1234 */

SEC("tc/push")
int push(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), TCI);
	return TC_ACT_OK;
}

SEC("tc/pop")
int pop(struct __sk_buff *skb)
{
	if (skb->vlan_present && skb->vlan_tci == TCI)
		return bpf_skb_vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_OK;
	return skb->protocol == bpf_htons(ETH_P_IP) ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
"""


class Served:
    """`exchange` on the server's interface, in a process of its own."""

    def __init__(self, pair: Pair, *addresses: str) -> None:
        self.pair = pair
        self.process = pair.server.start(sys.executable, exchange.__file__,
                                         pair.server.interface, *addresses, output=subprocess.PIPE)
        self.path: dict[str, Any] = json.loads(self.line())

    def line(self) -> str:
        """The next line that it writes."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    @contextlib.contextmanager
    def connection(self, address: str, up: int, down: int, first: bool = False) -> Iterator[socket.socket]:
        with inside(self.pair.client.name):
            client = socket.create_connection((address, exchange.PORT), 30)
        with client:
            client.sendall(exchange.HEADER.pack(up, down, first))
            yield client

    def exchanges(self, address: str, up: int, down: int) -> None:
        """Send and receive that much, and compare the hashes."""
        with self.connection(address, up, down) as client:
            exchange.upload(client, up)
            assert exchange.receive_exactly(client, exchange.DIGEST_BYTES) == exchange.digest(up)
            assert exchange.download(client) == (down, exchange.digest(down))


@pytest.fixture(scope="class")
def served() -> Iterator[Served]:
    """One for a whole class: a process can have only one Pair at a time."""
    with Pair() as pair:
        yield Served(pair, "", "::")


class TestOrdinaryFrames:
    """An interface of MTU 1500 without anything special."""

    @pytest.mark.parametrize("family", [4, 6])
    @pytest.mark.parametrize("size", [0, 1, 1448, 65_537, 1_000_000, 100_000_000])
    def test_octets_arrive_as_sent_both_ways(self, served: Served, size: int, family: int) -> None:
        server = served.pair.server
        served.exchanges(server.address if family == 4 else server.address6, size, size)

    def test_a_client_that_has_ended_its_stream_still_receives(self, served: Served) -> None:
        """RFC 9293 3.6: CLOSE means "I have no more data to send"; from CLOSE-WAIT we go on sending."""
        with served.connection(served.pair.server.address, exchange.UNTIL_END, TEN_MB) as client:
            exchange.upload(client, 65_537)
            client.shutdown(socket.SHUT_WR)
            assert exchange.receive_exactly(client, exchange.DIGEST_BYTES) == exchange.digest(65_537)
            assert exchange.download(client) == (TEN_MB, exchange.digest(TEN_MB))

    def test_a_server_that_has_ended_its_stream_still_receives(self, served: Served) -> None:
        """RFC 9293 3.6: in FIN-WAIT-2 we go on receiving until the peer's FIN."""
        address = served.pair.server.address
        with served.connection(address, exchange.UNTIL_END, 65_537, first=True) as client:
            assert exchange.download(client) == (65_537, exchange.digest(65_537))
            exchange.upload(client, TEN_MB)
            client.shutdown(socket.SHUT_WR)
            assert served.line() == exchange.digest(TEN_MB).hex()


def test_jumbo_frames_are_exchanged_in_several_buffers() -> None:
    with Pair(mtu=9000) as pair:
        served = Served(pair, "")
        assert served.path["multi_buffer"] and served.path["mtu"] == 9000
        with served.connection(pair.server.address, 0, 0) as client:
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 9000 - 20 - 20 - 12
        served.exchanges(pair.server.address, TEN_MB, TEN_MB)


def test_jumbo_frames_carry_a_served_file(tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    (root / "large").write_bytes(os.urandom(TEN_MB))
    with Pair(mtu=9000) as pair:
        server = Underpass(pair, root, tmp_path, None)
        assert "multi buffer" in server.path()
        pair.client.run("curl", "-sS", "--max-time", "30", "-o", str(out), server.url("large"))
        assert server.stop() == 0
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256((root / "large").read_bytes()).digest()


def tag_frames(pair: Pair, scratch: Path) -> None:
    """Have the client send IPv4 in frames with a VLAN tag, and drop IPv4 that comes without the same tag."""
    source, program = scratch / "tagger.c", scratch / "tagger.o"
    source.write_text(TAGGER)
    compiler = next(filter(None, map(shutil.which, ("clang", "clang-16", "clang-14"))), None)
    if compiler is None:
        pytest.skip("clang is not installed")
    headers = f"/usr/include/{platform.machine()}-linux-gnu"
    run(compiler, "-target", "bpf", "-O2", "-I", headers, "-c", str(source), "-o", str(program))
    client = pair.client
    client.offload(txvlan=False, rxvlan=False)
    client.run("tc", "qdisc", "add", "dev", client.interface, "clsact")
    for hook, section in (("egress", "tc/push"), ("ingress", "tc/pop")):
        client.run("tc", "filter", "add", "dev", client.interface, hook,
                   "bpf", "direct-action", "object-file", str(program), "section", section)


def test_answers_carry_the_vlan_tag_of_the_syn(tmp_path: Path) -> None:
    with Pair() as pair:
        served = Served(pair, "")
        tag_frames(pair, tmp_path)
        served.exchanges(pair.server.address, TEN_MB, TEN_MB)


def link_local(pair: Pair) -> str:
    """The server's link-local address, once it may be used (RFC 4862 5.4)."""
    def ready() -> list[str]:
        where = pair.server
        shown = where.run("ip", "-j", "-6", "addr", "show", "dev", where.interface, "scope", "link").stdout
        return [it["local"] for it in json.loads(shown)[0]["addr_info"] if it and not it.get("tentative")]

    assert until(lambda: bool(ready()), 10)
    return ready()[0]


def test_a_link_local_address_is_served() -> None:
    with Pair() as pair:
        address = link_local(pair)
        served = Served(pair, address)
        served.exchanges(f"{address}%{pair.client.interface}", TEN_MB, TEN_MB)
