"""The settings of a service: every fault of a file named at once, the command line before the file."""

import argparse
import json
from pathlib import Path

import pytest

from underpass.apps.sites import Site
from underpass.cli import main, parser_for
from underpass.cli.settings import FIELDS, complete, read

RIGHT = """
directory = "/srv/www"
interface = "eth0"
address = ["192.0.2.1", "2001:db8::1"]
port = 8080
access-log = "-"
connections = 1000
congestion = "bbr"
syn-cookies = "auto"
syn-rate = 50000
admission = true
workers = 2
cores = [1, 2]
user = "www-data"
shield = "/etc/underpass/shield.toml"
mode = "native"
busy-poll = true
log-format = "json"
"""
SITES = """
interface = "eth0"
[[site]]
directory = "/srv/www"
[[site]]
directory = "/srv/api"
address = ["192.0.2.1"]
port = 8080
access-log = "-"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(RIGHT)
    return path


def options(*words: str) -> argparse.Namespace:
    return parser_for(["serve"]).parse_args(["serve", *words])


def test_a_right_file_is_said_to_be_right(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: right\n"


def test_the_file_here_has_every_setting(file: Path) -> None:
    assert read(str(file))[0].keys() == FIELDS.keys()


@pytest.mark.parametrize(("line", "said"), [
    ("port = 70000", "port: 70000 is not a whole number from 1 to 65535"),
    ('port = "80"', 'port: "80" is not a whole number'),
    ("port = true", "port: true is not a whole number"),
    ("prot = 80", "prot: unknown key; did you mean port?"),
    ("busy_poll = true", "busy_poll: unknown key; did you mean busy-poll?"),
    ("xyzzy = 1", "xyzzy: unknown key; known are directory, interface, "),
    ('"a\\nb" = 1', "a\\nb: unknown key; known are "),
    ("address = []", "address: [] is not a list of IPv4 and IPv6 addresses"),
    ("address = [1]", "address: [1] is not a list"),
    ('address = ["192.0.2.300"]', "address: ['192.0.2.300'] is not a list"),
    ('access-log = "log"', 'access-log: "log" is not an absolute path'),
    ("connections = 0", "connections: 0 is not a whole number above zero"),
    ('congestion = "vegas"', 'congestion: "vegas" is not one of "cubic", '),
    ("workers = 65", "workers: 65 is not a whole number from 1 to 64"),
    ('cores = ["1"]', "cores: ['1'] is not a list of processor cores"),
    ('user = "a b"', 'user: "a b" is not the name of a user'),
    ('mode = "fast"', 'mode: "fast" is not one of "auto", '),
    ("busy-poll = 1", "busy-poll: 1 is not true or false"),
    ('syn-cookies = "on"', 'syn-cookies: "on" is not one of "off", "auto", "always"'),
    ("syn-rate = 0", "syn-rate: 0 is not a whole number from 1 to 1000000000"),
    ("admission = 1", "admission: 1 is not true or false"),
])
def test_a_fault_is_one_line_with_file_key_and_what_is_right(
        file: Path, line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f'directory = "/srv"\ninterface = "eth0"\n{line}\n')
    assert main(["check", str(file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file}: {said}")
    assert err.count("\n") == 1


def test_all_faults_are_named_at_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('port = 0\nprot = 1\ninterface = "a name with spaces"\n')
    assert main(["check", str(file)]) == 1
    keys = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert keys == ["port", "prot", "interface", "directory"]


def test_faults_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('directory = "/srv"\ninterface = "eth0"\nport = 0\n')
    assert main(["check", "--json", str(file)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [fault["key"] for fault in said] == ["port"]


@pytest.mark.parametrize("octets", [b"port = ", b"\xff\xfe", b"port = 1\nport = 2", b"[" * 50_000])
def test_what_is_not_toml_is_one_line(file: Path, octets: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(octets)
    assert main(["check", str(file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file}: not TOML: ")
    assert err.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: cannot be read: No such file or directory\n"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(file: Path) -> None:
    given = options("--port", "81", "--mode", "generic")
    assert complete(given, read(str(file))[0]) == []
    assert (given.port, given.mode, given.busy_poll, given.interface) == (81, "generic", True, "eth0")
    alone = options("site", "-i", "eth1")
    assert complete(alone, {}) == []
    assert (alone.port, alone.mode, alone.busy_poll, alone.address) == (80, "auto", False, None)


def test_several_sites_stand_in_tables_of_their_own(file: Path) -> None:
    file.write_text(SITES)
    assert main(["check", str(file)]) == 0
    given = options()
    assert complete(given, read(str(file))[0]) == []
    assert given.sites == [Site("/srv/www"), Site("/srv/api", ["192.0.2.1"], 8080, "-")]


def test_a_single_site_is_one_of_the_command_line(file: Path) -> None:
    given = options("site", "-i", "eth0", "--port", "81")
    assert complete(given, {}) == []
    assert given.sites == [Site("site", port=81)]


@pytest.mark.parametrize(("text", "said"), [
    ('port = 80\n[[site]]\ndirectory = "/a"', "port: stands in each [[site]]"),
    ("site = 1", "site: 1 is no list of tables"), ("site = []", "site: [] is no list of tables"),
    ("[[site]]\nport = 80", 'site 1: directory: missing; it must be an absolute path, such as "/srv/www"'),
    ('[[site]]\ndirectory = "/a"\nmode = "auto"', "site 1: mode: unknown key; known are directory, "),
    ('[[site]]\ndirectory = "/a"\nprot = 1', "site 1: prot: unknown key; did you mean port?"),
    ('[[site]]\ndirectory = "/a"\nport = 0', "site 1: port: 0 is not a whole number"),
    ('[[site]]\ndirectory = "/a"\n[[site]]\ndirectory = "/b"', "site 2: 0.0.0.0 port 80 is site 1's already"),
    ('[[site]]\ndirectory = "/a"\n[[site]]\ndirectory = "/b"\naddress = ["::1"]',
     "site 2: ::1 port 80 is site 1's already"),
    ("".join(f'[[site]]\ndirectory = "/a"\nport = {port}\n' for port in range(1, 18)),
     "site: 17 sites are more than 16"),
])
def test_what_is_wrong_with_sites(
        file: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f'interface = "eth0"\n{text}\n')
    assert main(["check", str(file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file}: {said}")
    assert err.count("\n") == 1


def test_the_same_port_of_different_addresses_is_no_clash(file: Path) -> None:
    sites = [f'[[site]]\ndirectory = "/a"\naddress = ["{address}"]\n'
             for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:0:0:0")]
    file.write_text('interface = "eth0"\n' + "".join(sites))
    assert main(["check", str(file)]) == 0


def test_the_command_line_cannot_say_which_site_it_means(
        file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(SITES)
    with pytest.raises(SystemExit) as end:
        main(["serve", "--config", str(file), "--port", "81"])
    assert end.value.code == 2
    assert "port: the file has several sites" in capsys.readouterr().err


def test_every_setting_is_an_option_of_serve() -> None:
    """A setting that no option has could not be overruled."""
    assert {field.replace("-", "_") for field in FIELDS} <= vars(options()).keys()


def test_serve_names_the_file_s_faults_and_does_not_start(
        file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("port = 0\nprot = 1\n")
    assert main(["serve", "--config", str(file)]) == 1
    assert capsys.readouterr().err.count(str(file)) == 2


def own(workers: str, *each: str) -> str:
    """Settings of sites with workers of their own."""
    tables = "".join(f'[[site]]\ndirectory = "/srv/{port}"\nport = {port}\n{its}\n'
                     for port, its in enumerate(each, 1))
    return f'interface = "eth0"\n{workers}\n{tables}'


def test_sites_with_workers_of_their_own(file: Path) -> None:
    file.write_text(own("workers = 4", "own-workers = 1", "", "own-workers = 2"))
    assert main(["check", str(file)]) == 0
    given = options()
    assert complete(given, read(str(file))[0]) == []
    assert [it.own_workers for it in given.sites] == [1, 0, 2]


@pytest.mark.parametrize(("settings", "said"), [
    (own("workers = 2", "own-workers = 1", "", "own-workers = 1"),
     "workers: 2 workers are too few: 2 are some application's own, and the others need one"),
    (own("workers = 2", "own-workers = 3"), "workers: 2 workers are too few: 3 are some application's own"),
    (own("workers = 3", "own-workers = 2"), "workers: 1 of 3 workers would have nothing to serve"),
    (own("workers = 3", "own-workers = 0"), "site 1: own-workers: 0 is not a whole number from 1 to 64"),
    ('directory = "/srv"\ninterface = "eth0"\nown-workers = 1\n',
     "own-workers: unknown key; did you mean workers?"),
])
def test_workers_of_their_own_that_cannot_be(file: Path, settings: str, said: str,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(settings)
    assert main(["check", str(file)]) == 1
    assert capsys.readouterr().err == f"{file}: {said}\n"


def test_workers_of_their_own_need_workers(file: Path) -> None:
    file.write_text(own("", "own-workers = 1"))
    with pytest.raises(ValueError, match="own-workers of a site are some of --workers N"):
        complete(options(), read(str(file))[0])
