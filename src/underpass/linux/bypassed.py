"""What of the host no longer sees the traffic that Underpass serves: findings of the doctor."""

import ipaddress
import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from underpass.linux import nft_rules
from underpass.linux.finding import Finding

MOST_RULES = 100                        # listed one by one


def nftables(interface: str, addresses: Sequence[str], port: int | None) -> Iterator[Finding]:
    """The rules that TCP to these addresses and this port (None: any) does not meet any more."""
    what = f"TCP to {', '.join(addresses) or 'this host'}" + (f" port {port}" if port else "")
    legacy = nft_rules.legacy_tables()
    if legacy:
        yield Finding("iptables", "warn", "tables of the older iptables do not see what is served, and nft "
                      f"does not show them: {', '.join(legacy)}", "look at them with iptables-legacy-save")
    try:
        rules = nft_rules.host_rules()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        yield Finding("nftables", "warn", "nft is not installed: the host's rules are not known" if missing
                      else f"the host's rules are not known: {error}",
                      "install nftables" if missing else "run as root")
        return
    found = [ipaddress.ip_address(it) for it in addresses]
    concerned = [rule for rule in rules if rule.concerns(interface, found, port)]
    if not concerned:
        yield Finding("nftables", "ok", f"no rule of the host would have met {what}")
        return
    yield Finding("nftables", "warn", f"{len(concerned)} rule(s) of the host no longer see {what}",
                  "say the same before this host, or in the application")
    for rule in concerned[:MOST_RULES]:
        mark = "simple" if rule.simple else f"not simple: {', '.join(_why(rule))}"
        yield Finding("nftables rule", "ok", f"{rule.line()} [{mark}]")


def _why(rule: nft_rules.Rule) -> list[str]:
    """What a filter by address and port cannot say."""
    return [*rule.rest, *(f"{name} !=" for name in sorted(rule.excluded))] or ["no verdict"]


def traffic_control(interface: str, trains: bool) -> Iterator[Finding]:
    """tc programs and filters; `trains`: consecutive segments leave as one packet, by the host's queues."""
    try:
        ingress, egress = _filters(interface, "ingress"), _filters(interface, "egress")
    except FileNotFoundError:
        yield Finding("tc", "warn", "tc is not installed: its filters are not known", "install iproute2")
        return
    except (OSError, ValueError) as error:
        yield Finding("tc", "warn", f"filters of {interface} are not known: {error}", "run as root")
        return
    if ingress:
        yield Finding("tc ingress", "warn", f"does not see what is served: {', '.join(ingress)}",
                      "look with `underpass dump`; filter before this host, or in the application")
    else:
        yield Finding("tc ingress", "ok", "no filter that would miss what is served")
    if not egress:
        yield Finding("tc egress", "ok", "no filter that would miss what is sent")
        return
    seen = "sees of what is sent only what leaves as large packets" if trains else "does not see what is sent"
    yield Finding("tc egress", "warn", f"{seen}: {', '.join(egress)}", "look with `underpass dump`")


def _filters(interface: str, hook: str) -> list[str]:
    """Each filter in some words. Raises OSError for what tc says, ValueError for what cannot be read."""
    done = subprocess.run(["tc", "-j", "filter", "show", "dev", interface, hook], capture_output=True,
                          text=True, timeout=10, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["tc failed"])[-1])
    words: dict[tuple[Any, ...], str] = {}
    for row in json.loads(done.stdout or "[]"):         # a filter is told twice: alone, and with its options
        name = row.get("options", {}).get("bpf_name") or f"pref {row.get('pref')}"
        which = tuple(row.get(key) for key in ("protocol", "pref", "chain", "kind"))
        words[which] = f"{row.get('kind')} {name}"
    return list(words.values())
