"""What is sent against a server while clients ask it, and what each configuration has against that.

Packets of a flood come from 2^28 invented sources, sent by the client's side; answers to them go back there
by a route, and end. A flood of requests is one of real connections: `ab` processes, each from another
address.
"""

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from underpass.apps.bench.lab import CLIENT_CORE, SMALL, Lab
from underpass.linux.namespaces import CommandError, Namespace, until

ROUTER, ROUTER_MAC = "198.18.0.254", "02:00:00:00:12:fe"      # xdp/bench.bpf.c knows it, too
MPPS = (0, 0.16, 0.32, 0.64, 5)         # the paper's one to four hosts; the last is more than can be sent
SOURCES = (0, 1, 8, 32)                 # processes of the flood of requests
START_S = 10.0
FLOOD = "underpass.apps.flood.process"
SYN, ACK = 0x02, 0x10
KINDS = {"udp": "UDP datagrams to a closed port", "syn": "SYNs to the served port",
         "ack": "segments of no connection to the served port",
         "requests": "small requests, a connection each"}

POLICIES = {
    "udp": '[interface]\ndrop = ["udp"]\n',
    "syn": "[services]\n",
    "ack": "[services]\n",
    "requests": '[[services.rate]]\nper = "source"\nsyns = 100\n',
}
NFTABLES = {                            # what an operator would have there
    "udp": """
table netdev flooded {
  chain first { type filter hook ingress device "%(interface)s" priority -500; ip protocol udp drop; }
}""",
    "syn": """
table ip flooded {
  chain first { type filter hook prerouting priority raw; tcp dport 80 tcp flags syn notrack; }
  chain proxy {
    type filter hook input priority filter;
    tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
    ct state invalid drop
  }
}""",
    "ack": """
table ip flooded {
  chain first { type filter hook prerouting priority -150; ct state invalid drop; }
}""",
    "requests": """
table ip flooded {
  set sources { type ipv4_addr; size 65536; flags dynamic; timeout 1m; }
  chain first {
    type filter hook prerouting priority -150;
    tcp flags & (syn|ack) == syn \
      update @sources { ip saddr limit rate over 100/second burst 100 packets } drop
  }
}""",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A running server, and where the flood goes in and out: elsewhere for the bare drop program."""

    lab: Lab
    flood: str
    there: Namespace
    here: Namespace


def frame(kind: str, there: Namespace) -> bytes:
    """The packet that all of a flood are made from, as a router would pass it on."""
    macs = there.mac + bytes.fromhex(ROUTER_MAC.replace(":", ""))
    to = socket.inet_aton(there.address)
    if kind == "udp":
        above, protocol = struct.pack("!HHHH", 1024, 9, 26, 0) + bytes(18), socket.IPPROTO_UDP
    else:
        flags, words = (SYN, 6) if kind == "syn" else (ACK, 5)
        options = struct.pack("!BBH", 2, 4, 1460) if kind == "syn" else b""
        acked = 0 if kind == "syn" else 1
        above = struct.pack("!HHIIBBHHH", 1024, 80, 1, acked, words << 4, flags, 65535, 0, 0) + options
        protocol = socket.IPPROTO_TCP
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(above), 1, 0, 64, protocol, 0, bytes(4), to)
    return macs + b"\x08\x00" + ip + above


@contextmanager
def flooding(target: Target, much: float, seconds: float) -> Iterator[None]:
    """While the block runs, `much` is sent, behind everybody else on the sender's core."""
    kind, lab, here = target.flood, target.lab, target.here
    processes = []
    try:
        if much and kind == "requests":
            processes = ab_processes(lab, int(much), seconds)
        elif much:
            rate = 0 if much == MPPS[-1] else much * 1e6
            words = ("send", here.interface, frame(kind, target.there).hex(), f"{rate:.0f}")
            processes = [begun(lab, here, "flood", *words)]
        yield
    finally:
        for process in processes:
            here.stop(process)


def ab_processes(lab: Lab, sources: int, seconds: float) -> list["subprocess.Popen[str]"]:
    """`ab`, eight connections each, each process from its own address."""
    pair = lab.pair
    addresses = [f"198.18.1.{number}" for number in range(1, sources + 1)]
    pair.client.run("ip", "-batch", "-", text="".join(
        f"addr replace {address}/15 dev {pair.client.interface}\n" for address in addresses))
    words = ("nice", "-n", "19", "ab", "-q", "-r", "-s", "3", "-t", f"{seconds + 5:.0f}", "-n", "10000000",
             "-c", "8")
    return [pair.client.start(*words, "-B", address, lab.server.url(SMALL), core=CLIENT_CORE)
            for address in addresses]


def begun(lab: Lab, where: Namespace, name: str, *words: str) -> "subprocess.Popen[str]":
    """The flood's process, once it has said that it is ready. Raises CommandError."""
    log = lab.scratch / f"{name}.log"
    with log.open("w") as output:
        process = where.start("nice", "-n", "19", sys.executable, "-m", FLOOD, *words, core=CLIENT_CORE,
                              output=output)

    def ready() -> bool:
        if process.poll() is not None:
            raise CommandError(f"the flood does not begin: {last_line(log)}")
        return "ready" in log.read_text()

    if not until(ready, START_S):
        raise CommandError(f"the flood does not begin: {last_line(log)}")
    return process


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def answers_go_back(lab: Lab) -> None:
    """The invented sources lie behind a router: the clients' machine ignores what goes to its MAC address, so
    that the answers are no more work there than elsewhere.
    """
    server, client = lab.pair.server, lab.pair.client
    server.run("ip", "neigh", "add", ROUTER, "lladdr", ROUTER_MAC, "dev", server.interface)     # permanent
    server.run("ip", "route", "add", "default", "via", ROUTER)
    client.write("/proc/sys/net/ipv4/conf/all/rp_filter", 0)


def drop_first(lab: Lab) -> None:
    """The least that can stop a flood, in front of the server's program: it drops what the router sends."""
    server = lab.pair.server
    server.run(sys.executable, "-m", FLOOD, "drop-first", server.interface)


def filter_by_nftables(lab: Lab, kind: str) -> None:
    """The kernel's own answer to this flood. A segment in the middle is no beginning: tcp_loose."""
    server = lab.pair.server
    server.run("nft", "-f", "-", text=NFTABLES[kind] % {"interface": server.interface})
    if kind in ("syn", "ack"):
        server.write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", 0)
