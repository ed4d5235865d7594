"""A policy as maps take it, and what there is no room for in them; no XDP program is needed."""

import ipaddress
from pathlib import Path

import pytest

from underpass.cli import main
from underpass.shield import policy_file
from underpass.shield.policy_file import PolicyError
from underpass.shield.policy_image import RULES_OF_SECTION, TEXT_BYTES
from underpass.shield.shield import LIST_OCTETS_MAX, prepare

NETWORK = ipaddress.ip_network


def rule(section: str, places: int) -> str:
    """One rule that needs so many."""
    return f"[[{section}.rule]]\naction = 'drop'\nto-ports = {list(range(1, places + 1))}\n"


def services(*places: int) -> str:
    return "".join(f"[[service]]\nport = {port}\n" + rule("service", it) for port, it in enumerate(places, 1))


def refused(text: str, folder: Path | None = None) -> str:
    """What is wrong with the whole of it; with its files, by line and key."""
    policy = policy_file.parse(text, folder=str(folder))
    with pytest.raises(PolicyError) as caught:
        prepare(policy)
    return str(caught.value).removeprefix("policy: ")


def test_each_pair_of_networks_and_ports_takes_a_place() -> None:
    """Networks of both versions never are in one packet."""
    text = ("[[services.rule]]\naction = 'drop'\nfrom = ['192.0.2.0/24', '2001:db8::/32']\n"
            "to = ['203.0.113.1', '203.0.113.2', '2001:db8::1']\nto-ports = ")
    prepare(policy_file.parse(text + str(list(range(1, 22)))))          # 3 * 21
    assert refused(text + str(list(range(1, 23)))) == (
        "the rules of services need 66 places, more than 64: one for each pair of networks and ports; put "
        "networks into a list, and name it in from-lists")


def test_places_are_counted_without_being_made() -> None:
    """Of a rule that would need 10^15 there is no list anywhere."""
    networks = [[f"{first}.{at >> 8}.{at & 255}.0/24" for at in range(1000)] for first in (10, 11)]
    ports = [list(range(1, 30_002, 30)), list(range(2, 30_003, 30))]
    both = f"[[services.rule]]\naction = 'drop'\nfrom = {networks[0]}\nto = {networks[1]}\n"
    assert refused(f"{both}from-ports = {ports[0]}\nto-ports = {ports[1]}\n").startswith(
        f"the rules of services need {1000 * 1000 * 1001 * 1001} places, more than 64")


def test_a_section_has_places_for_what_it_inherits_too() -> None:
    inherited = rule("services", 60) + "[[service]]\nport = 1\n"
    prepare(policy_file.parse(inherited + rule("service", RULES_OF_SECTION - 60)))
    assert refused(inherited + rule("service", 5)).startswith("the rules of *:1 need 65 places, more than 64")


def test_all_sections_share_so_many_places() -> None:
    prepare(policy_file.parse(services(64, 64, 64, 64)))
    assert refused(services(64, 64, 64, 63, 2)) == (
        "the rules need more than 256 places, those of *:5 and of sections before it: one for each pair of "
        "networks and ports, and in each section that inherits them; put networks into a list, and name it "
        "in from-lists")


def test_check_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.toml").write_text(rule("interface", 65))
    assert main(["shield", "check", str(tmp_path / "p.toml")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"{tmp_path}/p.toml: the rules of interface need 65 places, more than 64")


def test_a_policy_has_so_many_octets_with_its_folder() -> None:
    """The folder stands before the text, and a line's end between them."""
    prepare(policy_file.parse("#" * (TEXT_BYTES - 6), folder="/some"))
    with pytest.raises(PolicyError, match="at most 65532 octets with its folder, this one 65533: put"):
        prepare(policy_file.parse("#" * (TEXT_BYTES - 5), folder="/some"))


def numbered_lists(folder: Path, many: int) -> str:
    """Thirteen lists; of so many addresses, each is in those that have a bit of its number."""
    first = int(NETWORK("8.0.0.0").network_address)
    for bit in range(13):
        members = [str(ipaddress.IPv4Address(first + it)) for it in range(many + 1) if it >> bit & 1]
        (folder / f"l{bit}").write_text("\n".join(members))
    return "".join(f"[lists.l{bit}]\nfile = 'l{bit}'\n" for bit in range(13))


def test_addresses_are_in_so_many_different_sets_of_lists(tmp_path: Path) -> None:
    prepare(policy_file.parse(numbered_lists(tmp_path, 4095), folder=str(tmp_path)))
    assert refused(numbered_lists(tmp_path, 4096), tmp_path) == (
        "addresses are in more than 4095 different sets of lists: make one list of those that are always "
        "named together")


def test_ipv6_prefixes_make_so_many_ranges(tmp_path: Path) -> None:
    """Two for each prefix without a neighbour, and what lies before the first."""
    (tmp_path / "many").write_bytes(b"".join(
        b"2001:%x:%x::/64\n" % (it >> 16, it & 0xFFFF) for it in range(0, 2 << 21, 2)))
    assert refused("[lists.many]\nfile = 'many'", tmp_path) == (
        "the lists' IPv6 prefixes make 4194305 ranges, more than 4194304: name networks instead of what is "
        "in them, or leave some out")


def test_every_wrong_line_of_every_list_is_named(tmp_path: Path) -> None:
    """Those of one file up to twenty; a file that is not there keeps none of the others from being read."""
    (tmp_path / "a").write_text("# 1\n192.0.2.1/24 a comment\n192.0.2.0/24\n,\nhere\n")
    (tmp_path / "many").write_text("there\n" * 30)
    text = "".join(f"[lists.{it}]\nfile = '{it}'\n" for it in ("a", "none", "many", "."))
    assert refused(text.replace("[lists..]", "[lists.dir]"), tmp_path).splitlines() == [
        f"policy:2: lists.a.file: {tmp_path}/a:2: 192.0.2.1/24 has bits beyond its length; 192.0.2.0/24 is "
        "meant?",
        f"policy:2: lists.a.file: {tmp_path}/a:5: 'here' is no address or prefix, such as 192.0.2.0/24 or "
        "2001:db8::/32",
        f"policy:4: lists.none.file: {tmp_path}/none: No such file or directory",
        *(f"policy:6: lists.many.file: {tmp_path}/many:{line}: 'there' is no address or prefix, such as "
          "192.0.2.0/24 or 2001:db8::/32" for line in range(1, 21)),
        f"policy:8: lists.dir.file: {tmp_path}: Is a directory"]


def test_an_address_ends_where_it_ends(tmp_path: Path) -> None:
    (tmp_path / "octets").write_bytes(b"192.0.2.1\0more\n192.0.2.2\n")
    said = refused("[lists.l]\nfile = 'octets'", tmp_path)
    assert "octets:1: '192.0.2.1\\x00more' is no address or prefix" in said


def test_a_list_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LIST_OCTETS_MAX == 256 << 20
    monkeypatch.setattr("underpass.shield.shield.LIST_OCTETS_MAX", 1 << 20)
    said = refused("[lists.all]\nfile = '/dev/zero'")
    assert said == "policy:2: lists.all.file: /dev/zero: is larger than 1 MiB"
