"""The XDP program with all of its features, without an interface, under any octets: what must hold of each.

The verdict is one of those that there are, and the frame is counted once, for that; the shield's tallies add
up to the counters.
"""

import ipaddress
import random
import struct
from collections import Counter
from contextlib import ExitStack
from typing import Any

from underpass.closing import Closing
from underpass.linux.admission import AdmissionPlan, buckets_for
from underpass.shield import policy_file
from underpass.shield.shield import Shield, sets_for
from underpass.testing.probe_xdp import VERDICTS
from underpass.testing.shield_frames import arbitrary_frame, likely_frame
from underpass.xdp.admission_maps import AdmissionMaps
from underpass.xdp.steer_object import FEATURES
from underpass.xdp.test_run import test_run
from underpass.xdp.unattached import Unattached, octets_of

PORT, OTHER_PORT = 80, 443
OURS = ("10.77.0.1", "fd77::1")
MAC = b"\2\x75\x70\0\0\1"
LONGEST = {False: 3000, True: 3 * 4096 + 100}   # octets; by whether there may be several buffers
FLOWS = 1024
SOURCES = 1024
VERDICT_OF = {"redirected": "REDIRECT", "passed": "PASS", "dropped": "DROP", "answered": "TX"}
THE_SHIELDS = {f"dropped_{why}" for why in (
    "denied", "blocked", "rule", "default", "protocol", "port", "vlan", "flags", "bogon", "fragment",
    "length", "checksum", "source_rate", "service_rate", "connections", "new_connections")}
BLOCKED = ("203.0.113.0/24", "10.0.0.0/8", "2606:4700::/32", "::ffff:8.8.8.8/128", "192.168.7.7/32")
ALLOWED = ("203.0.113.9/32", "2001:db8::/64", "9.9.9.0/29")
POLICY = f"""
sources = {SOURCES}
samples = true
[lists.bad]
prefixes = ["198.51.100.0/24", "2a00:1450::/32", "9.9.9.9"]
[lists.good]
action = "allow"
prefixes = ["198.51.100.77", "2a00:1450:1::9"]
[interface]
bogons = "all"
checksums = true
drop = ["udp", 47]
udp-ports = [53]
tcp-ports = [22]
vlans = [0, 5]
fragments = "first"
[[interface.rule]]
action = "drop"
from-ports = 53
[[interface.rule]]
action = "count"
flags = "syn,!ack"
[[interface.rate]]
per = "source"
packets = 1000
bytes = 100000
[services]
fragments = "drop"
[[services.rate]]
per = "service"
syns = 1000
[[services.rate]]
per = "source"
new-connections = 100
[[service]]
port = {PORT}
address = "{OURS[0]}"
dry-run = true
[[service]]
port = {OTHER_PORT}
default = "drop"
[[service.rule]]
action = "pass"
version = "6"
[detection]
packets = 100
block-for = "1s"
blocks = 5
"""
# Where somebody counts them: with `connections` the server has to look flows up.
COUNTED = """
[[services.rate]]
per = "source"
connections = 2
"""
COUNTED_POLICY = POLICY.replace("[[service]]", f"{COUNTED}[[service]]", 1)


def say_by_hand(shield: Shield) -> None:
    """Block and allow some of the sources that frames have."""
    for network in BLOCKED:
        shield.block(ipaddress.ip_network(network))
    for network in ALLOWED:
        shield.allow(ipaddress.ip_network(network), 3600)


class XdpTarget(Closing):
    """See the module. Needs CAP_BPF and CAP_NET_ADMIN; raises AssertionError for what must not be."""

    def __init__(self, multi_buffer: bool) -> None:
        plan = AdmissionPlan("auto" if multi_buffer else "always", overload=True, flows=FLOWS)
        self.longest = LONGEST[multi_buffer]
        with ExitStack() as undo:
            self._program = undo.enter_context(Unattached(
                FEATURES, multi_buffer, mac=MAC, flow_range=(61000, 61099),
                entries=plan.sizes | {"sources": sets_for(SOURCES)}))
            for address in OURS:
                self._program.put("addresses", octets_of(address), struct.pack("=I", 1))
                for port in (PORT, OTHER_PORT):
                    self._program.claim(address, port)
            self._admission = AdmissionMaps(self._program.object)
            self._admit(plan)
            self.shield = Shield(self._program, 0)
            self.shield.load(policy_file.parse(COUNTED_POLICY))
            say_by_hand(self.shield)
            self._undo = undo.pop_all()
        self._first = self.counters()

    def counters(self) -> Counter[str]:
        """Packets by reason."""
        return Counter(self._program.counters())

    def look(self, frame: bytes) -> str:
        """Have the program look at a frame; the verdict."""
        before = self.counters()
        number = test_run(self._program.program_fd, frame)[0]
        assert number < len(VERDICTS), f"no verdict: {number}"
        said, counted = VERDICTS[number], self.counters() - before
        assert counted.total() == 1, f"{said}, counted as {dict(counted)}"
        (reason,) = counted
        assert VERDICT_OF[reason.partition("_")[0]] == said, f"{said}, counted as {reason}"
        return said

    def check_tallies(self) -> None:
        """The shield's own counts are the counters'; lists and rules have what they decided."""
        dropped, rules, lists = tallied(self.shield)
        counted = self.counters() - self._first
        assert dropped["dropped"] == Counter({it: counted[it] for it in counted if it in THE_SHIELDS})
        both = dropped["dropped"] + dropped["would_drop"]
        assert lists.total() == both["dropped_denied"]
        assert rules["interface.rule 1"] == both["dropped_rule"]

    def close(self) -> None:
        """Unload it."""
        self._undo.close()

    def _admit(self, plan: AdmissionPlan) -> None:
        buckets = buckets_for(FLOWS)
        self._admission.set_keys(bytes(range(48)), buckets=buckets, source_buckets=buckets // 4)
        self._admission.set_answer(mss_v4=1460, mss_v6=1440, window=65535, window_scale=7, ecn=True,
                                   partial_checksums=True)
        self._admission.set_cookies(plan.syn_cookies, syn_rate=500, hold_s=1)


def tallied(shield: Shield) -> tuple[dict[str, Counter[str]], Counter[str], Counter[str]]:
    """What the shield has dropped, or would have, by reason, and its counts of rules and lists."""
    stats: dict[str, Any] = shield.stats()
    dropped: dict[str, Counter[str]] = {"dropped": Counter(), "would_drop": Counter()}
    for kind, reasons in dropped.items():
        for rows in stats[kind].values():
            reasons.update({reason: it.packets for reason, it in rows.items()})
    rules, lists = (Counter({name: it.packets for name, it in stats[kind].items()})
                    for kind in ("rules", "lists"))
    return dropped, rules, lists


# A fuzzer's input: a number of two octets, how many zeros lie behind the frame, and the frame; it is to our
# MAC where the number is even.


def frame_of(octets: bytes, longest: int) -> bytes:
    """The frame that an input stands for: 14 octets to `longest`."""
    more = int.from_bytes(octets[:2], "little") if len(octets) >= 2 else 0
    frame = octets[2 : longest + 2].ljust(14, b"\0")
    if more % 2 == 0:
        frame = MAC + frame[len(MAC) :]
    return frame + bytes(min(more, max(0, longest - len(frame))))


def input_of(seed: int, most: int) -> bytes:
    """An input that stands for an arbitrary frame, or one that most filters let in."""
    chance = random.Random(seed)
    more = chance.choice((0, 0, 0, chance.randrange(1 << 16)))
    some = likely_frame(chance, MAC, OURS) if chance.random() < 0.3 else arbitrary_frame(
        chance, MAC, OURS, LONGEST[False])
    return (more.to_bytes(2, "little") + some)[:most]
