"""What `underpass shield` says, for people and for programs, beside a running server."""

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netns.test_shield import (  # noqa: F401
    FLOOD,
    POLICY,
    Server,
    datagrams,
    fetch,
    is_served,
    serve,
    shield,
    site,
)

from underpass.linux.namespaces import until
from underpass.testing.namespaces import VethPair

WATCHED = "[interface]\n[detection]\npackets = 1000\n"          # and nobody is blocked: `top` shows who sends


def rows(text: str) -> list[list[str]]:
    """The cells of a table: columns stand two blanks apart."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line]


def test_allow_and_unload(veth: VethPair, serve: Server, site: Path) -> None:  # noqa: F811
    """An allowance counts more than a list that denies; without a policy nothing is filtered any more."""
    policy = site / "shield.toml"
    policy.write_text(f'[interface]\ndrop = ["udp"]\n[lists.bad]\nprefixes = ["{veth.peer.v4}"]\n')
    serve("--shield", str(policy))
    assert not is_served(veth)
    shield(veth.ours, "allow", veth.peer.v4, "--for", "10m")
    assert is_served(veth)
    ((network, what, left, _),) = rows(shield(veth.ours, "show").split("\n\n")[1])[1:]
    assert (network, what) == (f"{veth.peer.v4}/32", "allowed")
    assert 540 < int(left.removesuffix(" s")) <= 600
    shield(veth.ours, "unblock", veth.peer.v4)
    assert not is_served(veth)
    shield(veth.ours, "unload")
    assert is_served(veth)
    assert datagrams(veth, 5353) == 10
    assert shield(veth.ours, "show") == shield(veth.ours, "stats") == "no policy is loaded\n"
    assert json.loads(shield(veth.ours, "show", "--json")) == {"policy": None, "folder": None, "blocks": []}
    assert json.loads(shield(veth.ours, "stats", "--json")) == {}


def test_what_is_loaded_and_blocked_for_people_and_programs(
    veth: VethPair, serve: Server, site: Path  # noqa: F811
) -> None:
    serve("--shield", str(site / "shield.toml"))
    shield(veth.ours, "block", "203.0.113.7", "2001:db8:bad::/48", "--for", "10m")
    shield(veth.ours, "block", "198.51.100.0/24")
    shown = shield(veth.ours, "show")
    assert shown.startswith(POLICY.rstrip())
    head, *blocks = rows(shown.removeprefix(POLICY.rstrip()))
    assert head == ["PREFIX", "WHAT", "LEFT", "PACKETS"]
    assert [it[:2] for it in blocks] == [[network, "blocked"] for network in (
        "203.0.113.7/32", "2001:db8:bad::/48", "198.51.100.0/24")]
    assert all(540 < int(left.removesuffix(" s")) <= 600 for _, _, left, _ in blocks[:2])
    assert len(blocks[2]) == 3                          # no time: until it is taken off
    found = json.loads(shield(veth.ours, "show", "--json"))
    assert (found["policy"], found["folder"]) == (POLICY, str(site))
    first, _, last = found["blocks"]
    assert (first["network"], first["kind"], first["packets"]) == ("203.0.113.7/32", "block", 0)
    assert 540 < first["left_s"] <= 600
    assert last["left_s"] is None


def has_counted(veth: VethPair, serve: Server, site: Path) -> None:  # noqa: F811
    """A server with a policy that has dropped ten datagrams, let one request in, and holds a block."""
    (site / "shield.toml").write_text(
        POLICY + '[[services.rule]]\nname = "web"\naction = "count"\nprotocol = "tcp"\nto-ports = 80\n')
    serve("--shield", str(site / "shield.toml"))
    assert datagrams(veth, 5000) == 0
    assert fetch(veth) == "hello\n"
    shield(veth.ours, "block", "203.0.113.0/24")


def test_tallies_in_a_table(veth: VethPair, serve: Server, site: Path) -> None:  # noqa: F811
    has_counted(veth, serve, site)
    head, *found, last = rows(shield(veth.ours, "stats"))
    assert head == ["WHAT", "WHERE", "REASON", "PACKETS", "BYTES"]
    assert ["dropped", "interface", "protocol", "10", "430"] in found       # 14 + 20 + 8 + 1 octets each
    (rule,) = [it for it in found if it[:2] == ["rule", "web"]]
    assert int(rule[2]) >= 5                            # no connection has fewer segments
    assert ["list", "bad", "0", "0"] in found
    assert last == ["1 blocks and allowances"]


@contextlib.contextmanager
def flood(veth: VethPair, code: str = FLOOD) -> Iterator[None]:
    process = subprocess.Popen(veth.peer.command(sys.executable, "-c", code, veth.ours.v4))
    try:
        yield
    finally:
        process.kill()
        process.wait()


SYNS = """
import socket, sys
while True:
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex((sys.argv[1], 80))
"""


@pytest.mark.parametrize(("code", "kind"), [(FLOOD, r"udp port 9999"), (SYNS, r"tcp port 80 \S+")],
                         ids=["datagrams", "connections"])
def test_who_sends_most_and_what(
    veth: VethPair, serve: Server, site: Path, code: str, kind: str  # noqa: F811
) -> None:
    """The source is named while it sends, a table an interval, so many times as asked."""
    (site / "shield.toml").write_text(WATCHED)
    serve("--shield", str(site / "shield.toml"))
    peer = f"{veth.peer.v4}/32"

    def is_named() -> bool:
        found = json.loads(shield(veth.ours, "top", "--json"))
        return bool(found) and found[0]["network"] == peer and found[0]["packets_ps"] > 64

    with flood(veth, code):
        assert until(is_named, 30)
        found = rows(shield(veth.ours, "top", "--interval", "0.2", "--count", "3"))
        assert [it for it in found if it[0] == "SOURCE"] == [["SOURCE", "PACKETS/S", "PACKETS", "LAST"]] * 3
        named = [it for it in found if it[0] == peer]
        assert len(named) == 3
        assert all(re.fullmatch(kind, it[3]) for it in named), named
        totals = [int(it[2].replace(",", "")) for it in named]
        assert totals == sorted(totals) and totals[0] < totals[-1]
    assert until(lambda: json.loads(shield(veth.ours, "top", "--json")) == [], 30)


def test_without_detection_top_says_so(veth: VethPair, serve: Server, site: Path) -> None:  # noqa: F811
    serve("--shield", str(site / "shield.toml"))
    assert "the policy has no [detection]" in shield(veth.ours, "top", status=1)
    assert "the policy has no `samples = true`" in shield(veth.ours, "drops", status=1)


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_dropped_packets_are_followed_until_ctrl_c(
    veth: VethPair, serve: Server, site: Path, words: tuple[str, ...]  # noqa: F811
) -> None:
    """First what was kept, then what comes."""
    (site / "shield.toml").write_text("samples = true\n" + POLICY)
    serve("--shield", str(site / "shield.toml"))
    assert datagrams(veth, 5000) == 0
    command = (sys.executable, "-m", "underpass.cli", "shield", "drops", "--follow", *words)
    process = subprocess.Popen(veth.ours.command(*command), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        before = process.stdout.readline()
        assert "5000" in before
        with flood(veth):
            assert any("9999" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    last = (rest or before).splitlines()[-1]
    assert json.loads(last)["reason"] == "dropped_protocol" if words else "dropped: protocol in" in last


def test_a_policy_is_checked_for_programs(site: Path) -> None:  # noqa: F811
    (site / "bad.txt").write_text("192.0.2.0/24\n198.51.100.7\n")
    (site / "shield.toml").write_text('[lists.bad]\nfile = "bad.txt"\n')
    command = [sys.executable, "-m", "underpass.cli", "shield", "check", "--json", str(site / "shield.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"policy": str(site / "shield.toml"), "lists": {"bad": 2}}


def test_prometheus_gets_what_a_server_s_shield_has_counted(
    veth: VethPair, serve: Server, site: Path  # noqa: F811
) -> None:
    pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")
    from underpass.observe.shield_metrics import all_shields

    has_counted(veth, serve, site)
    said = veth.ours.run(sys.executable, "-m", "underpass.cli", "metrics", "--once").stdout.splitlines()
    where = f'{{interface="{veth.ours.interface}"'
    for line in (
        f'underpass_shield_dropped_packets_total{where},reason="protocol",section="interface"}} 10.0',
        f'underpass_shield_dropped_bytes_total{where},reason="protocol",section="interface"}} 430.0',
        f'underpass_shield_list_packets_total{where},list="bad"}} 0.0',
        f'underpass_shield_blocks{where}}} 1.0',
    ):
        assert line in said
    with veth.ours.entered():
        ((name, found),) = all_shields().items()
    assert name == veth.ours.interface
    (web,) = [it for it in said if it.startswith("underpass_shield_rule_packets_total{")]
    assert web == f'underpass_shield_rule_packets_total{where},rule="web"}} {found["rules"]["web"].packets}.0'
    assert name not in all_shields()                    # of this namespace
    shield(veth.ours, "unload")
    with veth.ours.entered():
        assert all_shields() == {}
