"""The doctor's findings: complete, one line each, and true where the truth can be had another way."""

import os
from collections.abc import Callable

import pytest

from underpass.linux import doctor, privileges
from underpass.linux.doctor import examine
from underpass.linux.kernel import kernel_version
from underpass.testing.namespaces import VethPair


def test_the_machine_is_examined_without_an_interface() -> None:
    names = [finding.name for finding in examine()]
    assert names == ["kernel", "multi-buffer", "TX metadata", "libbpf", "privileges", "locked memory",
                     "BPF JIT", "XDP features", "source ports"]


def test_every_finding_is_one_line_and_what_is_not_ok_says_what_would_be() -> None:
    for finding in examine("lo") + examine("eth9"):
        assert "\n" not in finding.detail + finding.better
        assert finding.status in ("ok", "warn", "fail")
        assert finding.detail
        assert finding.better or finding.status == "ok"


def test_a_missing_interface_is_a_finding_that_names_those_that_are_here() -> None:
    finding = examine("eth9")[-1]
    assert (finding.name, finding.status) == ("interface", "fail")
    assert finding.detail.startswith("interface eth9 does not exist; interfaces here: ")
    assert "lo" in finding.detail


def test_an_interface_without_ethernet_frames_is_refused() -> None:
    finding = examine("lo")[-1]
    assert finding.status == "fail"
    assert "does not carry Ethernet" in finding.detail


@pytest.mark.parametrize(("queues", "used"), [(1, ", generic XDP is better here, and used"), (2, "")])
def test_the_mode_that_is_used_is_told(make_veth: Callable[..., VethPair], queues: int, used: str) -> None:
    pair = make_veth(queues=queues)
    with pair.ours.entered():
        found = next(it for it in examine(pair.ours.interface) if it.name == "native XDP")
    assert (found.status, found.detail) == ("ok", f"the driver veth has it{used}")


@pytest.mark.parametrize(("release", "version"), [
    ("6.1.0-18-amd64", (6, 1)), ("6.18.44-fc", (6, 18)), ("5.15", (5, 15)), ("strange", (0, 0))])
def test_the_kernel_s_release_is_read(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


@pytest.mark.parametrize(("version", "statuses"), [
    ((5, 15), ["fail", "warn", "warn"]), ((6, 1), ["ok", "warn", "warn"]),
    ((6, 6), ["ok", "ok", "warn"]), ((6, 8), ["ok", "ok", "ok"])])
def test_each_kernel_feature_has_its_floor(version: tuple[int, int], statuses: list[str]) -> None:
    assert [finding.status for finding in doctor._kernel(version)] == statuses


@pytest.mark.parametrize(("capabilities", "names"), [
    (0, ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON", "CAP_BPF"]),
    (1 << 12 | 1 << 13 | 1 << 38 | 1 << 39, []),
    (1 << 12 | 1 << 13 | 1 << 39, ["CAP_PERFMON"]),
    (1 << 12 | 1 << 13 | 1 << 21, []),      # capabilities(7): CAP_SYS_ADMIN covers both
])
def test_missing_capabilities_are_named(capabilities: int, names: list[str]) -> None:
    assert privileges.lacking(capabilities) == names


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_has_what_is_needed() -> None:
    privileges.require()
