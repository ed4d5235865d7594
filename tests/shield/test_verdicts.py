"""Every verdict of the XDP program under a policy, against the model in plain Python."""

import ipaddress
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underpass.linux.netdev_features import netdev_features
from underpass.shield import policy_file
from underpass.shield.policy import Policy
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.probe_xdp import verdict
from underpass.testing.shield_frames import random_frame
from underpass.testing.shield_model import Model
from underpass.xdp.loader import XdpProgram

PORT, OTHER_PORT, FLOWS = 80, 443, (61000, 61099)

LISTS = """
[lists.bad]
prefixes = ["198.51.100.0/24", "2a00:1450::/32", "9.9.9.9"]
[lists.worse]
prefixes = ["198.51.100.64/26", "2a00:1450:1::/48", "10.0.0.0/8"]
[lists.good]
action = "allow"
prefixes = ["198.51.100.77", "8.8.8.0/24", "2a00:1450:1::9"]
[lists.some]
action = "none"
prefixes = ["203.0.113.0/25", "2606:4700::/32"]
"""
POLICIES = {
    "services alone": "",
    "everything": LISTS
    + """
[interface]
drop = ["udp", 47, "sctp"]
udp-ports = [53, "6000-6010"]
tcp-ports = [22]
closed-tcp-ports = [8080]
""",
    "strict": LISTS
    + """
[interface]
default = "drop"
bogons = "all"
fragments = "drop"
vlans = [0, 10]
tcp-ports = [22]
udp-ports = [53]
[services]
default = "drop"
fragments = "first"
vlans = [0, 5]
[[services.rule]]
action = "pass"
from-lists = "some"
""",
    "deny first": LISTS
    + """
[interface]
order = ["deny", "allow", "rules"]
bogons = "off"
lengths = false
tcp-flags = false
""",
    "rules": LISTS
    + """
[interface]
order = ["rules", "deny"]
closed-udp-ports = [123]
[[interface.rule]]
name = "ssh from here"
action = "pass"
protocol = "tcp"
from = ["203.0.113.0/24", "2001:db8::/32"]
to-ports = 22
[[interface.rule]]
name = "no ssh"
action = "drop"
protocol = "tcp"
to-ports = ["22-23", 2222]
[[interface.rule]]
name = "all pings"
action = "count"
protocol = "icmp"
[[interface.rule]]
action = "drop"
from-ports = 53
protocol = "udp"
[[interface.rule]]
action = "drop"
flags = "syn,!ack"
from-lists = ["some"]
[[interface.rule]]
action = "drop"
version = "6"
vlan = 5
[[interface.rule]]
action = "drop"
to = "fd77::1"
protocol = "icmpv6"
""",
    "counts": LISTS
    + """
[interface]
order = ["rules", "allow", "deny"]
[[interface.rule]]
name = "all"
action = "count"
[[interface.rule]]
name = "once, though two of its places fit"
action = "count"
from = ["203.0.113.0/24", "203.0.113.0/28", "2001:db8::/32", "2001:db8::/48"]
to-ports = ["1-100", "22-23", 80]
[[interface.rule]]
name = "no syn to 80"
action = "drop"
flags = "syn,!ack"
to-ports = 80
[[interface.rule]]
name = "what is left"
action = "count"
from-lists = ["bad", "good"]
[services]
order = ["allow", "deny", "rules"]
[[services.rule]]
name = "own"
action = "count"
protocol = "tcp"
[[services.rule]]
action = "pass"
vlan = 5
""",
    "checksums": LISTS
    + """
[interface]
checksums = true
bogons = "off"
lengths = false
drop = ["gre"]
[[interface.rule]]
action = "pass"
version = "6"
[services]
dry-run = true
""",
    "services by themselves": LISTS
    + """
[services]
fragments = "first"
deny = ["bad"]
[[service]]
port = 443
deny = ["worse"]
allow = []
[[service]]
port = 80
address = "10.77.0.1"
order = ["deny"]
bogons = "all"
[[service.rule]]
action = "drop"
from = "8.8.8.8"
""",
    "dry run": "dry-run = true"
    + LISTS
    + """
[interface]
drop = "udp"
[services]
dry-run = false
""",
}


@pytest.fixture(params=[False, True], ids=["xdp", "xdp.frags"])
def program(veth: VethPair, request: pytest.FixtureRequest) -> Iterator[XdpProgram]:
    # It is for test runs alone: no frame of the wire counts beside them.
    veth.peer.run("ip", "link", "set", veth.peer.interface, "down")
    with veth.ours.entered():
        loaded = XdpProgram(
            netdev_features(veth.ours.interface), multi_buffer=request.param, features=["filters"]
        )
    with loaded:
        for address in (veth.ours.v4, veth.ours.v6):
            loaded.claim(address, PORT)
            loaded.claim(address, OTHER_PORT)
        loaded.set_local_addresses([veth.ours.v4, veth.ours.v6])
        loaded.set_flow_range(*FLOWS)
        yield loaded


def model_of(veth: VethPair, policy: Policy | None) -> Model:
    ours = {ipaddress.ip_address(it) for it in (veth.ours.v4, veth.ours.v6)}
    lists = {it.name: it.prefixes for it in policy.lists} if policy else {}
    return Model(
        bytes.fromhex(veth.ours.mac_text.replace(":", "")),
        policy,
        {(it, port) for it in ours for port in (PORT, OTHER_PORT)},
        ours,
        FLOWS,
        lists=lists,
    )


def counted(program: XdpProgram, frame: bytes) -> tuple[str, str]:
    """The verdict, and the one reason that was counted for it."""
    before = program.counters()
    said = verdict(program, frame)
    after = program.counters()
    (reason,) = [name for name, value in after.items() if value == before[name] + 1]
    assert sum(after.values()) == sum(before.values()) + 1
    return said, reason


def agree(program: XdpProgram, model: Model, frames: list[bytes]) -> set[str]:
    """Hold both against each other; the reasons that came up."""
    seen = set()
    for frame in frames:
        found, expected = counted(program, frame), model.verdict(frame)
        assert found == expected, frame.hex()
        seen.add(found[1])
    return seen


def tallied(shield: Shield) -> dict[tuple[str, ...], tuple[int, int]]:
    """What the program has counted, as the model has it."""
    stats = shield.stats()
    found = {(kind, name): it for kind in ("rules", "lists") for name, it in stats[kind].items()}
    found |= {(kind, section, reason): it for kind in ("dropped", "would_drop")
              for section, rows in stats[kind].items() for reason, it in rows.items()}
    return {of: (it.packets, it.octets) for of, it in found.items() if it.packets}


@pytest.mark.parametrize("name", POLICIES)
def test_program_and_model_agree(program: XdpProgram, veth: VethPair, name: str) -> None:
    policy = policy_file.parse(POLICIES[name])
    with veth.ours.entered():
        shield = Shield(program, 1)
        shield.load(policy)
    model = model_of(veth, policy)
    chance = random.Random(name)
    frames = [random_frame(chance, model.mac, (veth.ours.v4, veth.ours.v6)) for _ in range(1500)]
    seen = agree(program, model, frames)
    assert tallied(shield) == model.tallied
    assert {"dropped_no_socket", "passed_not_ip", "passed_other_mac"} <= seen
    if name == "counts":
        kinds = Counter(of for of, *_ in model.tallied)
        assert kinds == {"rules": 6, "lists": 2, "dropped": kinds["dropped"]}
    if name == "checksums":
        assert model.tallied["dropped", "interface", "dropped_checksum"][0] > 25
        assert model.tallied["would_drop", "services", "dropped_checksum"][0] > 20
    if name == "strict":
        assert {
            "dropped_default",
            "dropped_vlan",
            "dropped_fragment",
            "dropped_bogon",
            "dropped_length",
            "dropped_flags",
            "dropped_denied",
        } <= seen
    if name == "everything":
        assert {"dropped_protocol", "dropped_port", "dropped_denied"} <= seen


def test_without_a_policy_nothing_is_filtered(program: XdpProgram, veth: VethPair) -> None:
    model = model_of(veth, None)
    chance = random.Random(1)
    seen = agree(program, model, [random_frame(chance, model.mac, (veth.ours.v4,)) for _ in range(500)])
    assert not {it for it in seen if it.startswith("dropped")} - {
        "dropped_no_socket",
        "dropped_first_fragment",
    }


def test_any_octets_have_a_verdict_and_one_counter(program: XdpProgram, veth: VethPair) -> None:
    """From 14 octets to several pages, whatever they are."""
    policy = policy_file.parse(POLICIES["strict"])
    with veth.ours.entered():
        Shield(program, 1).load(policy)
    longest = 9000 if program.multi_buffer else 3400
    mac = model_of(veth, policy).mac

    @settings(max_examples=300, deadline=None, database=None)
    @given(
        st.binary(min_size=8, max_size=600),
        st.integers(0, longest),
        st.booleans(),
        st.sampled_from(
            [b"", b"\2\0\0\0\0\7\x08\0\x45", b"\2\0\0\0\0\7\x86\xdd\x60", b"\2\0\0\0\0\7\x81\0\0\5\x08\0\x45"]
        ),
    )
    def run(octets: bytes, more: int, to_us: bool, head: bytes) -> None:
        frame = (mac if to_us else b"") + head + octets + bytes(more)
        said, _ = counted(program, frame + bytes(max(0, 14 - len(frame))))
        assert said in ("DROP", "PASS")

    run()
