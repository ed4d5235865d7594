"""`underpass doctor` names the real rules and filters of a host that no longer see what is served."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.linux.namespaces import Namespace, Pair, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

RULES = """
table inet filter {
  set blocked { type ipv4_addr; flags interval; elements = { 203.0.113.0/24, 198.51.100.7 }; }
  chain web { tcp dport 8080 accept; ip saddr 192.0.2.66 drop; }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    ip saddr @blocked tcp dport { 80, 443 } counter drop
    tcp dport 22 accept
    udp dport 53 accept
    tcp dport 80 ct count over 20 reject
    jump web
  }
  chain output { type filter hook output priority 0; policy drop; tcp dport 80 drop; }
}
table ip6 six {
  chain raw { type filter hook prerouting priority -300; tcp dport 80 notrack; }
}
"""
PROGRAM = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc/looker")
int looker(struct __sk_buff *skb) { return 0; }
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Namespace]:
    with Pair() as pair:
        yield pair.server


def doctor(server: Namespace, *words: str, path: str = "") -> dict[str, list[tuple[str, str]]]:
    """What is found by name: status and detail."""
    environment = ["env", f"PATH={path}"] if path else []
    done = server.run(*environment, sys.executable, "-m", "underpass.cli", "doctor", "-i", server.interface,
                      "--json", *words, check=False)
    found: dict[str, list[tuple[str, str]]] = {}
    for it in json.loads(done.stdout):
        assert "\n" not in it["detail"] and (it["status"] == "ok" or it["better"])
        found.setdefault(it["name"], []).append((it["status"], it["detail"]))
    return found


@pytest.mark.skipif(shutil.which("nft") is None, reason="nftables is not installed")
class TestNftables:
    """With the rules above."""

    @pytest.fixture(autouse=True)
    def ruled(self, server: Namespace) -> Iterator[None]:
        server.run("nft", "-f", "-", text=RULES)
        yield
        server.run("nft", "flush", "ruleset")

    def test_the_rules_are_named_and_the_simple_ones_marked(self, server: Namespace) -> None:
        found = doctor(server, "--address", server.address, "--port", "80")
        assert found["nftables"] == [
            ("warn", f"6 rule(s) of the host no longer see TCP to {server.address} port 80")]
        assert [detail for _, detail in found["nftables rule"]] == [
            "inet filter web (input): ip saddr 192.0.2.66 drop [simple]",
            "inet filter input (input): ct state established,related accept [not simple: ct state]",
            "inet filter input (input): ip saddr @blocked tcp dport { 80, 443 } counter packets 0 bytes 0 "
            "drop [simple]",
            "inet filter input (input): tcp dport 80 ct count over 20 reject [not simple: ct count, reject]",
            "inet filter input (input): jump web [not simple: jump]",
            "inet filter input (input): policy drop [simple]",
        ]

    def test_other_ports_and_addresses_have_other_rules(self, server: Namespace) -> None:
        rules = [detail for _, detail in doctor(server, "--port", "22")["nftables rule"]]
        assert "inet filter input (input): tcp dport 22 accept [simple]" in rules
        assert not any("dport 80" in rule for rule in rules)
        found = doctor(server, "--address", "fd00:18::2", "--port", "80")
        rules = [detail for _, detail in found["nftables rule"]]
        assert any(rule.startswith("ip6 six raw (prerouting): tcp dport 80 notrack") for rule in rules)
        assert not any("ip saddr" in rule for rule in rules)

    def test_all_addresses_of_the_interface_are_asked_for_by_default(self, server: Namespace) -> None:
        rules = [detail for _, detail in doctor(server)["nftables rule"]]
        assert any("six" in rule for rule in rules) and any("@blocked" in rule for rule in rules)
        assert not any("udp" in rule or "output" in rule or '"lo"' in rule for rule in rules)

    def test_text_has_a_line_for_each(self, server: Namespace) -> None:
        said = server.run(sys.executable, "-m", "underpass.cli", "doctor", "-i", server.interface, "--port",
                          "80", check=False).stdout
        assert said.count("nftables rule") == 7


@pytest.mark.skipif(shutil.which("nft") is None, reason="nftables is not installed")
def test_no_rules_are_nothing_to_worry_about(server: Namespace) -> None:
    (found,) = doctor(server, "--port", "80")["nftables"]
    assert found[0] == "ok" and found[1].startswith("no rule of the host would have met TCP to ")


def test_where_nft_and_tc_are_missing_it_says_so(server: Namespace, tmp_path: Path) -> None:
    found = doctor(server, path=str(tmp_path))
    assert found["nftables"] == [("warn", "nft is not installed: the host's rules are not known")]
    assert found["tc"] == [("warn", "tc is not installed: its filters are not known")]


def test_filters_of_tc_are_named_with_what_they_still_see(server: Namespace, tmp_path: Path) -> None:
    found = doctor(server)
    assert (found["tc ingress"][0][0], found["tc egress"][0][0]) == ("ok", "ok")
    compiler = next(filter(None, map(shutil.which, ("clang", "clang-16", "clang-14"))), None)
    if compiler is None:
        pytest.skip("clang is not installed")
    source, program = tmp_path / "looker.c", tmp_path / "looker.o"
    source.write_text(PROGRAM)
    headers = f"/usr/include/{platform.machine()}-linux-gnu"
    run(compiler, "-target", "bpf", "-O2", "-I", headers, "-c", str(source), "-o", str(program))
    server.run("tc", "qdisc", "add", "dev", server.interface, "clsact")
    for hook in ("ingress", "egress"):
        server.run("tc", "filter", "add", "dev", server.interface, hook, "bpf", "direct-action",
                   "object-file", str(program), "section", "tc/looker")
    found = doctor(server)
    server.run("tc", "qdisc", "del", "dev", server.interface, "clsact")
    assert found["tc ingress"] == [("warn", "does not see what is served: bpf looker.o:[tc/looker]")]
    assert found["tc egress"] == [
        ("warn", "sees of what is sent only what leaves as large packets: bpf looker.o:[tc/looker]")]


@pytest.mark.parametrize(("words", "said"), [
    (["--port", "80"], "give it by -i"), (["--address", "nobody"], "'nobody' is no address"),
    (["--port", "0"], "is not a port"),
])
def test_errors_are_one_line(words: list[str], said: str) -> None:
    done = run(sys.executable, "-m", "underpass.cli", "doctor", *words, check=False)
    assert done.returncode in (1, 2)
    assert said in done.stderr and done.stderr.count("\n") == 1
