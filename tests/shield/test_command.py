"""`underpass shield` beside who attached the program: what it shows, and what it says in one line."""

from collections.abc import Iterator

import pytest
from tests.shield.loaded import loaded

from underpass.cli import main
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_xdp import verdict
from underpass.xdp.loader import XdpProgram


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
