"""A kernel that takes the XDP program without some feature: it is named, and what can go on goes on."""

import ipaddress
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.shield.loaded import loaded
from tests.xdp.refusing import CALLS, SAYS, compiled

import underpass
from underpass.linux import doctor
from underpass.linux.interface import facts
from underpass.log import Event
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_xdp import verdict
from underpass.xdp import steer_object
from underpass.xdp.loader import XdpProgram
from underpass.xdp.query import attached_program
from underpass.xdp.steer_object import FEATURES, FeatureRefused, SteerObject, why_refused

Refuse = Callable[[str], Path]
DENY = "[interface]\ndrop = ['udp']\n[services]\n[[services.rule]]\naction = 'drop'\nfrom-ports = 9\n"


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, netns_allowed: None) -> Refuse:
    """From now on the kernel refuses this feature."""
    def from_now_on(feature: str) -> Path:
        folder = compiled(tmp_path / feature, feature)
        monkeypatch.setattr(steer_object, "files", lambda _: folder)
        return folder

    return from_now_on


@pytest.mark.parametrize("feature", CALLS)
def test_the_feature_is_named_with_the_kernels_reason(refuse: Refuse, feature: str) -> None:
    refuse(feature)
    assert why_refused(FEATURES) == {feature: SAYS}
    with pytest.raises(FeatureRefused, match=f"the kernel refuses what XDP needs for {feature}: {SAYS}$"):
        SteerObject(FEATURES, multi_buffer=False)
    rest = {"cookies", "flows"} if feature == "filters" else FEATURES.keys() - {feature}
    taken = SteerObject(rest, multi_buffer=False)
    assert taken.features == rest
    taken.close()


def test_a_kernel_that_takes_all_refuses_nothing(netns_allowed: None) -> None:
    assert why_refused(FEATURES) == {}


def dropped(program: XdpProgram, veth: VethPair) -> int:
    """How many of a packet that the policy drops are counted as dropped by it."""
    before = program.counters()["dropped_rule"]
    segment = TcpSegment(src="198.51.100.1", dst=veth.ours.v4, dst_mac=veth.ours.mac_text, src_port=9)
    verdict(program, segment.build())
    return program.counters()["dropped_rule"] - before


@pytest.mark.parametrize(("feature", "more"), [
    ("lists", "[lists.bad]\nprefixes = ['192.0.2.0/24']\n"),
    ("detection", "[detection]\npackets = 1000\n"),
    ("rates", "[[services.rate]]\nper = 'source'\npackets = 5\n")])
def test_a_policy_that_needs_it_is_refused_and_the_one_before_stays(
    veth: VethPair, refuse: Refuse, feature: str, more: str
) -> None:
    with loaded(veth, (veth.ours.v4, 80)) as program:
        shield = Shield(program, program.netdev.index)
        shield.load(policy_file.parse(DENY))
        refuse(feature)
        with pytest.raises(FeatureRefused, match=f"for {feature}: {SAYS}$"):
            shield.load(policy_file.parse(DENY + more))
        assert program.features == {"filters"}
        assert shield.policy() == policy_file.parse(DENY)
        assert dropped(program, veth) == 1
        shield.block(ipaddress.ip_network("192.0.2.0/24"))


def test_a_policy_is_in_force_without_samples(veth: VethPair, refuse: Refuse) -> None:
    refuse("samples")
    with loaded(veth, (veth.ours.v4, 80)) as program:
        shield = Shield(program, program.netdev.index)
        shield.load(policy_file.parse("samples = true\n" + DENY))
        assert shield.left_out == {"samples": SAYS}
        assert dropped(program, veth) == 1
        with pytest.raises(OSError, match="the kernel refuses samples: `underpass doctor` says why"), \
                shield.drops():
            pass
        shield.load(policy_file.parse(DENY))
        assert shield.left_out == {}


@pytest.mark.parametrize("feature", ["cookies", "samples"])
def test_attached_without_what_only_helps_and_says_so(
    veth: VethPair, refuse: Refuse, feature: str
) -> None:
    refuse(feature)
    said = []
    policy = policy_file.parse("samples = true\n" + DENY)
    plan = underpass.AdmissionPlan("always", overload=True)
    with veth.ours.entered(), underpass.attach(
            veth.ours.interface, shield=policy, admission=plan,
            say=lambda text, event=Event.NOTE, **fields: said.append((event, fields))) as nic:
        nic.stack(connections=16).listen((veth.ours.v4, 80))
        about = nic.describe()
        assert about["why_not"][feature] == SAYS
        assert about["syn_cookies"] == ("off" if feature == "cookies" else "always")
        assert (about["overload"], nic.program.features) == (
            True, {"filters", "flows", "cookies", "samples"} - {feature})
        assert f"no {feature}: {SAYS}" in nic.summary()
        assert dropped(nic.program, veth) == 1
    assert said[0] == (Event.FEATURE_REFUSED,
                       {"interface": veth.ours.interface, "feature": feature, "reason": SAYS})


def test_nothing_is_served_without_the_filters_of_a_policy(veth: VethPair, refuse: Refuse) -> None:
    refuse("filters")
    with veth.ours.entered():
        with pytest.raises(FeatureRefused, match=f"for filters: {SAYS}$"):
            underpass.attach(veth.ours.interface, shield=policy_file.parse(DENY))
        assert attached_program(facts(veth.ours.interface).link.index) is None


RUN = """
import sys
from pathlib import Path
from underpass.xdp import steer_object
folder = Path(sys.argv.pop(1))
steer_object.files = lambda _: folder
from underpass.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_server_goes_on_without_cookies(veth: VethPair, refuse: Refuse, tmp_path: Path) -> None:
    """It logs that, once, and serves."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("hello\n")
    command = veth.ours.command(sys.executable, "-c", RUN, str(refuse("cookies")), "serve", str(site),
                                "-i", veth.ours.interface, "--syn-cookies", "always", "--workers", "1")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        lines = []
        for line in server.stdout:
            lines.append(line)
            if line.startswith("serving"):
                break
        said = f"{veth.ours.interface}: the kernel refuses cookies in the XDP program, and we go on without: "
        assert lines.count(f"{said}{SAYS}\n") == 1
        done = veth.peer.run("curl", "-s", "--max-time", "30", f"http://{veth.ours.v4}/index.html")
        assert done.stdout == "hello\n"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("feature", ["", "samples"])
def test_the_doctor_says_which_features_the_kernel_takes(refuse: Refuse, feature: str) -> None:
    if feature:
        refuse(feature)
    (found,) = [it for it in doctor.examine() if it.name == "XDP features"]
    if feature:
        assert found.status == "warn"
        assert found.detail.startswith(f"refused: {feature} ({SAYS}); taken: filters, rates, ")
    else:
        assert (found.status, found.detail) == ("ok", f"the kernel takes all: {', '.join(FEATURES)}")
