"""`underpass shield` beside who attached the program: what it shows, and what it says in one line."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.shield.loaded import loaded

from underpass.cli import main
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_xdp import verdict
from underpass.xdp.loader import XdpProgram

# Another user cannot read every installation: what the command needs is read before.
AS_NOBODY = """
import os, sys
import underpass.cli.shield, underpass.linux.namespaces, underpass.shield.policy_file, underpass.shield.shield
from underpass.cli import main, parser_for
parser_for(["shield"])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""
NOTHING_LEFT = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
ACTIONS = (
    ["block", "192.0.2.7"], ["allow", "192.0.2.7"], ["unblock", "192.0.2.7"], ["load", "/dev/null"],
    ["unload"], ["show"], ["top"], ["drops"], ["stats"])


@pytest.fixture
def program(veth: VethPair) -> Iterator[XdpProgram]:
    with loaded(veth, (veth.ours.v4, 80)) as it:
        yield it


def flood(program: XdpProgram, veth: VethPair, sources: int) -> None:
    """Three hundred segments of each."""
    for last in range(sources):
        octets = TcpSegment(src=f"198.51.100.{last}", dst=veth.ours.v4, dst_port=80,
                            dst_mac=veth.ours.mac_text, src_mac=veth.peer.mac_text).build()
        for _ in range(300):
            verdict(program, octets)


@pytest.mark.parametrize(("dry_run", "told"), [
    ("false", "detection: 2 blocked, 0 would be (dry run), 1 refused (no room)"),
    ("true", "detection: 0 blocked, 3 would be (dry run), 0 refused (no room)"),
])
def test_stats_tell_what_detection_has_done(
    program: XdpProgram, veth: VethPair, capsys: pytest.CaptureFixture[str], dry_run: str, told: str
) -> None:
    text = f"[detection]\npackets = 250\nblock-for = '10m'\nblocks = 2\ndry-run = {dry_run}\n"
    Shield(program, program.netdev.index).load(policy_file.parse(text))
    flood(program, veth, 3)
    with veth.ours.entered():
        assert main(["shield", "stats", "-i", veth.ours.interface]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == told


def failed(words: list[str], *before: str, status: int = 1) -> str:
    """The only line of a command that fails."""
    done = subprocess.run([*before, *words], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("words", ACTIONS, ids=" ".join)
def test_an_interface_that_is_not_there_is_named(words: list[str]) -> None:
    line = failed([sys.executable, "-m", "underpass.cli", "shield", *words, "-i", "nope"])
    assert line.startswith("underpass: interface nope does not exist; interfaces here: ")


@pytest.mark.parametrize("words", ACTIONS, ids=" ".join)
def test_another_user_is_told_what_is_needed(words: list[str]) -> None:
    line = failed([sys.executable, "-c", AS_NOBODY, "shield", *words, "-i", "lo"])
    assert line == "underpass: reaching the shield of a running server needs root; run it with sudo"


@pytest.mark.parametrize("where", [[], ["-i", "up0"]], ids=["any", "named"])
@pytest.mark.parametrize("words", ACTIONS[:4], ids=" ".join)
def test_root_without_the_capability_is_told_what_is_needed(
    program: XdpProgram, veth: VethPair, words: list[str], where: list[str]
) -> None:
    """As in a container. The interface may be found out, or named."""
    command = [*NOTHING_LEFT, sys.executable, "-m", "underpass.cli", "shield", *words, *where]
    assert "CAP_SYS_ADMIN is needed" in failed(veth.ours.command(*command))


@pytest.mark.parametrize(("words", "said"), [
    (["block", "192.0.2"], """takes an address or prefix, such as "192.0.2.0/24", not '192.0.2'"""),
    (["allow", "192.0.2.1/24"],
     """takes a prefix without bits beyond its length: "192.0.2.0/24", not '192.0.2.1/24'"""),
    (["unblock", "2001:db8::/129"], "takes an address or prefix"),
    (["block", "192.0.2.7", "--for", "5x"], "'5x' is not a span of time above zero, such as 90"),
    (["block", "192.0.2.7", "--for", "²m"], "'²m' is not a span of time above zero, such as 90"),
    (["block"], "the following arguments are required: ADDR"),
])
def test_arguments_that_are_none_are_named(words: list[str], said: str) -> None:
    assert said in failed([sys.executable, "-m", "underpass.cli", "shield", *words], status=2)


FAULTY = "[lists.a]\nfile = 'a'\n[lists.b]\nfile = 'none'\n"


@pytest.mark.parametrize("before", ["shield check", "shield load -i up0", "serve -i up0 . --shield"])
@pytest.mark.parametrize(("text", "told"), [
    ("[interface]\nbogons = 1\nlen = 1\n", ("p.toml:2: interface.bogons: ", "p.toml:3: interface.len: ")),
    (FAULTY, ("p.toml:2: lists.a.file: ", "p.toml:2: lists.a.file: ", "p.toml:4: lists.b.file: ")),
    ("[[interface.rule]]\naction = 'drop'\nto-ports = [1" + ", 1" * 64 + "]\n", ("p.toml: the rules ",)),
    ("a = " + "9" * 5000, ("p.toml:1: has a number ",)),
], ids=["keys", "lists", "places", "digits"])  # fmt: skip
def test_each_fault_of_a_policy_is_a_line(
    veth: VethPair, tmp_path: Path, before: str, text: str, told: tuple[str, ...]
) -> None:
    (tmp_path / "a").write_text("here\nthere\n")
    (tmp_path / "p.toml").write_text(text)
    command = veth.ours.command(sys.executable, "-m", "underpass.cli", *before.split(), "p.toml")
    with loaded(veth) if "load" in before else nullcontext():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    lines = [it.removeprefix("underpass: ") for it in done.stderr.splitlines()]
    assert len(lines) == len(told)
    assert all(map(str.startswith, lines, told))
