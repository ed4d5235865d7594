"""Policy files: what they mean; every kind of mistake has its line, its key and what would be right."""

import ipaddress
from pathlib import Path

import pytest

from underpass.shield import policy_file
from underpass.shield.policy import Rate
from underpass.shield.policy_file import PolicyError
from underpass.shield.policy_image import rules_of
from underpass.shield.toml_lines import lines_of

FAULTS = [
    ("[interface]\nfragments = 'some'", 2, "interface.fragments", 'one of "pass", "first", "drop"'),
    ("[interface]\n\nfragmnets = 'drop'", 3, "interface.fragmnets", "not known here; fragments is meant?"),
    ("[interfaces]", 1, "interfaces", "interface is meant?"),
    (
        "[interface]\ndrop = ['udp', 'upd']",
        2,
        "interface.drop",
        "a protocol: a number from 0 to 255, or one of",
    ),
    ("[interface]\nudp-ports = '90-80'", 2, "interface.udp-ports", 'a range such as "6000-6010"'),
    ("[interface]\nudp-ports = [\n  53,\n  70000]", 2, "interface.udp-ports", "a port from 0 to 65535"),
    ("[services]\ndefault = 'reject'", 2, "services.default", 'one of "pass", "drop"'),
    ("[services]\norder = ['deny', 'deny']", 2, "services.order", "each word stands there once"),
    ("[services]\ntcp-flags = 1", 2, "services.tcp-flags", "true or false"),
    ("[services]\ntcp-ports = [80]", 2, "services.tcp-ports", "is not known here"),
    ("[services]\nvlans = [5000]", 2, "services.vlans", "a whole number from 0 to 4094"),
    ("[services]\ndeny = ['bad']", 2, "services.deny", "'bad' is no list; there are no lists"),
    ("[lists.a]\nprefixes=[]\n[services]\nallow='b'", 4, "services.allow", "'b' is no list; lists are a"),
    ("[lists.bad]\naction = 'deny'", 1, "lists.bad", 'needs file = "..." or prefixes = [...]'),
    (
        "[lists.bad]\nprefixes = ['192.0.2.1/24']",
        2,
        "lists.bad.prefixes",
        "\"192.0.2.0/24\", not '192.0.2.1/24'",
    ),
    ("[lists.bad]\nprefixes = ['192.0.2']", 2, "lists.bad.prefixes", "an address or prefix"),
    ("[[service]]\naddress = '192.0.2.1'", 1, "service", "needs port = ..."),
    ("[[service]]\nport = 80\n[[service]]\nport = 80", 3, "service", "*:80 stands there twice"),
    ("[[service]]\nport = 80\naddress = 'here'", 3, "service.address", "an address, such as"),
    ("[service]\nport = 80", 1, "service", "is written [[service]]"),
    ("[[interface.rule]]\nprotocol = 'udp'", 1, "interface.rule", 'needs action = "pass", "drop" or "count"'),
    (
        "[[interface.rule]]\naction = 'drop'\nflags = 'synack'",
        3,
        "interface.rule.flags",
        "TCP flags, such as",
    ),
    (
        "[[interface.rule]]\naction = 'drop'\nflags = 'syn'\nprotocol = 'udp'",
        3,
        "interface.rule.flags",
        "are TCP's",
    ),
    (
        "[[interface.rule]]\naction = 'drop'\nto-ports = 7\nprotocol = 'gre'",
        4,
        "interface.rule.protocol",
        "no ports",
    ),
    (
        "[[interface.rule]]\nname = 'a'\naction = 'drop'\n[[services.rule]]\naction = 'pass'\nname = 'a'",
        6,
        "services.rule.name",
        "'a' is the name of the rule in line 1, too: each needs its own",
    ),
    (
        "[[interface.rule]]\nname = 'services.rule 1'\naction = 'drop'\n[[services.rule]]\naction = 'pass'",
        4,
        "services.rule.name",
        "'services.rule 1' is the name of the rule in line 1, too: each needs its own",
    ),
    (
        "[services]\nrule = [{name = 'a', action = 'drop'}, {name = 'a', action = 'pass'}]",
        2,
        "services.rule.name",
        "'a' is the name of the rule in line 2, too",
    ),
    ("[[services.rate]]\nsyns = 5", 1, "services.rate", 'needs per = "source" or "service"'),
    ("[[services.rate]]\nper = 'source'", 1, "services.rate", "limits nothing"),
    ("[[services.rate]]\nper = 'source'\nsyns = 0", 3, "services.rate.syns", "a whole number from 1"),
    (
        "[[services.rate]]\nper = 'service'\nconnections = 9",
        3,
        "services.rate.connections",
        "are counted for each source",
    ),
    (
        "[[interface.rate]]\nper = 'source'\nconnections = 9",
        3,
        "interface.rate.connections",
        "are those of the stack: [services] and [[service]] limit them",
    ),
    (
        "[[interface.rate]]\nper = 'source'\nnew-connections = 9",
        3,
        "interface.rate.new-connections",
        "are those of the stack",
    ),
    (
        "[[services.rate]]\nper = 'source'\nconnections = 17000000",
        3,
        "services.rate.connections",
        "a whole number from 1 to 16777215",
    ),
    (
        "".join(f"[[services.rate]]\nper = 'source'\nv4 = {bits}\nconnections = 9\n" for bits in (32, 24, 9)),
        12,
        "services.rate.connections",
        "2 different pairs of lengths, and these there are: v4 = 24, v6 = 64 and v4 = 32, v6 = 64",
    ),
    ("lists = 5", 1, "lists", "are tables: [lists.NAME]"),
    ("lists.bad = 5", 1, "lists.bad", "is a table"),
    ("[lists.bad]\nfile = 5", 2, "lists.bad.file", 'a path, such as "blocklist.txt"'),
    ("[lists.bad]\nprefixes = []\naction = 'drop'", 3, "lists.bad.action", 'one of "deny", "allow", "none"'),
    (
        "".join(f"[lists.l{number}]\nprefixes = []\n" for number in range(63)),
        125,
        "lists.l62",
        "63 lists are more than 62",
    ),
    ("service = [5]", 1, "service", "is a table: [[service]]"),
    (
        "".join(f"[[service]]\nport = {port}\n" for port in range(1, 16)),
        29,
        "service",
        "15 services are more than 14: what several have in common belongs in [services]",
    ),
    (
        "[interface]\n" + "[[interface.rule]]\naction = 'drop'\n" * 65,
        130,
        "interface.rule",
        "a section has at most 64 rules, with those that it inherits, and all sections 256",
    ),
    (
        "[[interface.rule]]\naction = 'drop'\n" * 60 + "[[services.rule]]\naction = 'drop'\n" * 5,
        129,
        "services.rule",
        "a section has at most 64 rules, with those that it inherits",
    ),
    (
        "".join(f"[[service]]\nport = {port}\n" + "[[service.rule]]\naction = 'drop'\n" * count
                for port, count in ((1, 64), (2, 64), (3, 64), (4, 60), (5, 5))),
        523,
        "service.rule",
        "and all sections 256",
    ),
    (
        "[services]\n" + "[[services.rate]]\nper = 'source'\nsyns = 5\n" * 5,
        14,
        "services.rate",
        "a section has at most 4 rates",
    ),
    (
        "[lists.a]\nprefixes = []\n[[services.rule]]\naction = 'drop'\nfrom-lists = ['a', 'b']",
        5,
        "services.rule.from-lists",
        "'b' is no list; lists are a",
    ),
    ("[[services.rule]]\naction = 'drop'\nversion = 5", 3, "services.rule.version", 'one of "4", "6"'),
    ("[[services.rule]]\naction = 'drop'\nvlan = 4095", 3, "services.rule.vlan", "a whole number from 0"),
    ("[[services.rule]]\naction = 'drop'\nname = ''", 3, "services.rule.name", "a text of 1 to 60 printable"),
    (
        "[[services.rule]]\naction = 'drop'\nname = \"bell\\u0007\"",
        3,
        "services.rule.name",
        "a text of 1 to 60 printable characters",
    ),
    (
        "[[services.rule]]\naction = 'drop'\nfrom = '192.0.2.1/24'",
        3,
        "services.rule.from",
        "a prefix without bits beyond its length: \"192.0.2.0/24\", not '192.0.2.1/24'",
    ),
    ("[[services.rule]]\naction = 'drop'\nfrom = []", 3, "services.rule.from", "at least one of prefixes"),
    ("[[services.rule]]\naction = 'drop'\nto = 5", 3, "services.rule.to", "an address or prefix, such as"),
    ("[[services.rule]]\naction = 'drop'\nto = []", 3, "services.rule.to", "at least one of prefixes"),
    (
        "[[services.rule]]\naction = 'drop'\nfrom-lists = []",
        3,
        "services.rule.from-lists",
        "at least one of names of lists",
    ),
    *(
        (f"[[services.rule]]\naction = 'drop'\n{key} = {value}", 3, f"services.rule.{key}", right)
        for key in ("to-ports", "from-ports")
        for value, right in (("[]", "one of ports"), ("'²-80'", "a port"), ("'1-²'", "a port"))
    ),
    *(
        (f"[[services.rule]]\naction = 'drop'\n{asks}", 1, "services.rule", "fits no packet: version, from")
        for asks in (
            "version = '4'\nfrom = '2001:db8::/32'",
            "version = '6'\nto = ['192.0.2.1', '192.0.2.2']",
            "from = '192.0.2.0/24'\nto = '2001:db8::1'",
        )
    ),
    (
        "[[services.rule]]\naction = 'drop'\nflags = 'syn,!syn'",
        3,
        "services.rule.flags",
        "no flag both set and not set: 'syn,!syn' fits no segment",
    ),
    ("[[services.rule]]\naction = 'drop'\nflags = '!!syn'", 3, "services.rule.flags", "TCP flags, such as"),
    ("[[services.rule]]\naction = 'drop'\nflags = ['syn']", 3, "services.rule.flags", "TCP flags, such as"),
    (
        "[[services.rule]]\naction = 'drop'\nto-ports = 'http'",
        3,
        "services.rule.to-ports",
        'a port from 0 to 65535, or a range such as "6000-6010"',
    ),
    ("[[services.rule]]\naction = 'reject'", 2, "services.rule.action", 'one of "pass", "drop", "count"'),
    ("[services]\nrule = 5", 2, "services.rule", "is written [[services.rule]]"),
    ("[services]\nrule = [5]", 2, "services.rule", "is a table"),
    ("[services]\nrate = [5]", 2, "services.rate", "is a table"),
    (
        "[[services.rate]]\nper = 'source'\nsyns = 5\nburst = 0",
        4,
        "services.rate.burst",
        'a span of time above zero, such as 90, "10m", "2h" or "1d", at most "1d"',
    ),
    *(
        (f"[[services.rate]]\nper = 'source'\nsyns = 5\nburst = {burst}", 4, "services.rate.burst", '"1d"')
        for burst in ("'835d'", "86401", "inf", "nan", "9" * 400)
    ),
    ("[detection]\npackets = 5\nblock-for = '²m'", 3, "detection.block-for", "a span of time above zero"),
    ("[detection]\npackets = 5\nblock-for = 'm'", 3, "detection.block-for", "a span of time above zero"),
    ("[detection]\npackets = 5\nblock-for = '3651d'", 3, "detection.block-for", 'at most "3650d"'),
    *(
        (f"[[{section}.rule]]\naction = 'drop'\n{key} = {value}", 3, f"{section}.rule.{key}", "not known")
        for section in ("services", "interface")
        for key, value in (("vlans", "[5]"), ("dry-run", "true"), ("bogons", "'off'"), ("default", "'drop'"))
    ),
    ("[[services.rate]]\nper = 'source'\nsyns = 5\ndry-run = true", 4, "services.rate.dry-run", "not known"),
    (
        "[interface]\nvlans = [5]\n[services]\n[[services.rule]]\naction = 'drop'\nvlans = [5]",
        6,
        "services.rule.vlans",
        "is not known here; vlan is meant?",
    ),
    (
        "[services]\nvlans = [5]\n[[service]]\nport = 80\n[[service.rule]]\naction = 'drop'\nvlans = [5]",
        7,
        "service.rule.vlans",
        "is not known here; vlan is meant?",
    ),
    (
        "[services]\ndry-run = true\n[[service]]\nport = 80\n[[service.rate]]\nper = 'source'\nsyns = 5\n"
        "dry-run = true",
        8,
        "service.rate.dry-run",
        "is not known here",
    ),
    ("sources = 255", 1, "sources", "a whole number from 256 to 4194304"),
    ("samples = 1", 1, "samples", "true or false"),
    ("[services]\nbogons = true", 2, "services.bogons", 'one of "off", "martians", "all"'),
    ("[[service]]\nport = 0", 2, "service.port", "a whole number from 1 to 65535"),
    ("[detection]\nblock-for = '10m'", 1, "detection", "needs packets = ..."),
    (
        "[detection]\npackets = 5\nblock-for = '10 minutes'",
        3,
        "detection.block-for",
        "a span of time above zero",
    ),
    ("interface = 5", 1, "interface", "is a table"),
    ("\n[[interface]]", 2, "interface", "is one table: [interface]"),
    ("\n[[services]]", 2, "services", "is one table: [services]"),
    ("\n[[detection]]\npackets = 5", 2, "detection", "is one table: [detection]"),
    ("\n[[lists.a]]\nprefixes = []", 2, "lists.a", "is one table: [lists.a]"),
    ("\n[[lists]]\nprefixes = []", 2, "lists", "are tables: [lists.NAME]"),
]


@pytest.mark.parametrize(
    ("text", "line", "key", "wrong"), FAULTS, ids=[it[2] + str(at) for at, it in enumerate(FAULTS)]
)
def test_a_fault_has_line_key_and_what_would_be_right(text: str, line: int, key: str, wrong: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_file.parse(text, "p.toml")
    assert [(it.line, it.key) for it in caught.value.faults] == [(line, key)]
    assert wrong in caught.value.faults[0].wrong
    assert str(caught.value).startswith(f"p.toml:{line}: {key}: ")


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(PolicyError) as caught:
        policy_file.parse("dry-run = 'no'\n[interface]\nbogons = 1\n[services]\ncolour = 'red'")
    assert [it.line for it in caught.value.faults] == [1, 3, 5]


def test_what_is_no_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"p\.toml: is not TOML: .*line 2"):
        policy_file.parse("[interface]\ndrop = udp", "p.toml")
    (tmp_path / "latin.toml").write_bytes(b"# f\n# \xe4\n")
    with pytest.raises(PolicyError, match=r"latin\.toml:2: is not UTF-8"):
        policy_file.read(str(tmp_path / "latin.toml"))
    with pytest.raises(OSError, match=r"none\.toml: cannot be read"):
        policy_file.read(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(("text", "told"), [
    ("sources = 1\n" + "sources2 = " + "7" * 5000, "p.toml:2: has a number of too many digits"),
    ("a = " + "[" * 3000 + "]" * 3000, "p.toml: has values within values, deeper than can be read"),
    ("a = " + "{a = " * 3000 + "1" + "}" * 3000, "p.toml: has values within values, deeper than can be read"),
], ids=["digits", "arrays", "tables"])  # fmt: skip
def test_what_cannot_be_read_is_a_fault(text: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_file.parse(text, "p.toml")
    assert str(caught.value) == told


def test_a_key_over_several_lines_is_told_in_one() -> None:
    with pytest.raises(PolicyError) as caught:
        policy_file.parse('"first\\nsecond" = 1')
    assert str(caught.value).startswith(r"policy: 'first\nsecond': is not known here")


def test_a_policy_without_an_end_is_refused() -> None:
    with pytest.raises(PolicyError, match="/dev/zero: has more than 65532 octets: put prefixes into"):
        policy_file.read("/dev/zero")


@pytest.mark.parametrize("asks", [
    "version = '4'\nfrom = ['192.0.2.0/24', '2001:db8::/32']",
    "from = '192.0.2.0/24'\nto = ['192.0.2.1', '2001:db8::1']",
    "flags = 'syn, !ack, !rst'",
    "flags = 'syn syn'",
])
def test_what_some_packet_fits_is_right(asks: str) -> None:
    assert len(policy_file.parse(f"[[services.rule]]\naction = 'drop'\n{asks}").services.rules) == 1


def test_inherited_settings_and_rules() -> None:
    policy = policy_file.parse("""
[lists.bad]
prefixes = ["192.0.2.0/24"]
[interface]
default = "drop"
bogons = "all"
drop = "udp"
[[interface.rule]]
action = "drop"
from = "198.51.100.0/24"
[services]
fragments = "drop"
[[services.rate]]
per = "source"
syns = 20
[[service]]
port = 443
bogons = "off"
[[service.rule]]
name = "own"
action = "pass"
""")
    assert policy.interface is not None
    assert (policy.services.default, policy.services.bogons, policy.services.drop) == ("pass", "all", ())
    assert policy.services.rules == policy.interface.rules
    (own,) = (it.section for it in policy.service)
    assert (own.name, own.bogons, own.fragments, own.deny) == ("*:443", "off", "drop", ("bad",))
    assert [it.name for it in own.rules] == ["own", "interface.rule 1"]
    assert own.rates == policy.services.rates == (Rate("source", syns=20),)


def test_rules_without_a_name_are_called_by_their_section() -> None:
    one = "[[{}.rule]]\naction = 'drop'\n"
    own = "[[service]]\nport = {}\n" + one.format("service") * 2
    policy = policy_file.parse(
        one.format("interface") + one.format("services") + own.format("443\naddress = '192.0.2.1'")
        + own.format(443)
    )
    assert [rule.name for rule in rules_of(policy)] == [
        "interface.rule 1",
        "services.rule 1",
        "192.0.2.1:443 rule 1",
        "192.0.2.1:443 rule 2",
        "*:443 rule 1",
        "*:443 rule 2",
    ]


INHERITED = ("bogons = 'none'", "vlans = [5000]", "order = [1]", "deny = ['none']", "dry-run = 1")


@pytest.mark.parametrize("setting", INHERITED)
@pytest.mark.parametrize("section", ["interface", "services"])
def test_a_fault_that_is_inherited_is_told_once(section: str, setting: str) -> None:
    """And a section's own one with the same key once more."""
    text = f"[{section}]\n{setting}\n[[service]]\nport = 80\n[[service]]\nport = 81\n"
    with pytest.raises(PolicyError) as caught:
        policy_file.parse(text)
    assert [it.line for it in caught.value.faults] == [2]
    with pytest.raises(PolicyError) as caught:
        policy_file.parse(text + setting)
    assert [it.line for it in caught.value.faults] == [2, 7]


def test_a_rule_that_is_inherited_is_at_fault_once() -> None:
    text = "[[interface.rule]]\naction = 'drop'\nvlans = [5]\n[services]\n[[service]]\nport = 80"
    with pytest.raises(PolicyError) as caught:
        policy_file.parse(text)
    assert [(it.line, it.key) for it in caught.value.faults] == [(3, "interface.rule.vlans")]


def test_files_are_relative_to_the_policy(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[lists.bad]\nfile = 'bad.txt'")
    (it,) = policy_file.read(str(tmp_path / "p.toml")).lists
    assert it.file == str(tmp_path / "bad.txt")


def test_values_have_the_forms_that_people_write() -> None:
    policy = policy_file.parse("""
[[interface.rule]]
action = "drop"
protocol = "TCP"
from = "2001:db8::1"
to-ports = [22, "8000-8010"]
flags = "syn, !ack"
[detection]
packets = 1000
block-for = "2h"
""")
    assert policy.interface is not None
    (rule,) = policy.interface.rules
    assert (rule.protocol, rule.ports, rule.flags) == (6, ((22, 22), (8000, 8010)), (0x12, 0x02))
    assert rule.sources == (ipaddress.ip_network("2001:db8::1/128"),)
    assert policy.detection is not None
    assert policy.detection.block_s == 7200


def test_lines_are_found_behind_strings_and_arrays() -> None:
    found = lines_of('''# [no]
a = """
b = 1
[c]
"""
[t] # x
list = [
  "]", # ]
  5]
"quoted.key" = { inner = 1 }
[[t.many]]
x = 1
[[t.many]]
y.z = "="
''')
    assert found == {
        ("a",): 2,
        ("t",): 6,
        ("t", "list"): 7,
        ("t", "quoted.key"): 10,
        ("t", "many", 0): 11,
        ("t", "many", 0, "x"): 12,
        ("t", "many", 1): 13,
        ("t", "many", 1, "y"): 14,
        ("t", "many", 1, "y", "z"): 14,
    }
