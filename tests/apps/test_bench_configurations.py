"""What the figures start: each configuration's command is one that its program takes, nothing is measured."""

import sys
from pathlib import Path
from typing import Any

import pytest

from underpass.apps.bench import cores_figure, ddos_figure, offered, primes_figure
from underpass.apps.bench.cores_figure import Asked, several
from underpass.apps.bench.servers import Dpdk, Server, Underpass
from underpass.cli import parser_for, settings
from underpass.linux.namespaces import side
from underpass.shield import policy_file

SERVERS = [it for it in cores_figure.SERVERS if issubclass(it, Underpass)]


class Namespaces:
    """As much of a pair as a command needs."""

    server = side("server", "here", 1)


def command(kind: type[Server], folder: Path) -> list[str]:
    """What it would run, behind the interpreter's own words: a module's name and its arguments."""
    server: Any = kind.__new__(kind)
    server.pair, server.root, server.scratch = Namespaces(), folder, folder
    python, option, *words = server.command()
    assert (python, option) == (sys.executable, "-m")
    return list(words)


def parsed(kind: type[Server], folder: Path) -> Any:
    """The options of `underpass serve`, as it takes them, with its defaults."""
    module, *words = command(kind, folder)
    assert module == "underpass.cli"
    options = parser_for(words).parse_args(words)
    assert (options.command, options.interface) == ("serve", "here")
    assert settings.complete(options, {}) == []
    return options


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_servers_are_asked_for_what_they_are_named(kind: type[Underpass], tmp_path: Path) -> None:
    options = parsed(kind, tmp_path)
    asked = {"io": options.io, "busy_poll": options.busy_poll, "checksum": options.checksum}
    plain = {"io": "afxdp", "busy_poll": False, "checksum": True}
    assert asked == plain | {
        "underpass": {}, "underpass --busy-poll": {"busy_poll": True}, "underpass --io dpdk": {"io": "dpdk"},
        "underpass, no offload": {"checksum": False}}[kind.name]


@pytest.mark.parametrize("kind", [it for it in SERVERS if it is not Dpdk], ids=lambda kind: kind.name)
def test_a_worker_for_each_queue(kind: type[Underpass], tmp_path: Path) -> None:
    options = parsed(several(kind, 2), tmp_path)
    assert (options.workers, options.cores, options.user) == (2, [1, 0], "root")
    assert several(kind, 1) is kind


def test_dpdk_is_not_asked_for_several_queues() -> None:
    """Its driver reaches one of a veth's: nothing is started."""
    assert cores_figure.measure(Asked(Dpdk), 2, 1) == {}


@pytest.mark.parametrize("kind", offered.SERVERS, ids=lambda kind: kind.name)
def test_the_load_is_offered_to_native_xdp(kind: type[Server], tmp_path: Path) -> None:
    """As DPDK has it, so that what differs is the way packets are moved."""
    native = offered.natively(kind)
    assert native.name == kind.name
    if issubclass(kind, Underpass):
        assert parsed(native, tmp_path).mode == "native"
    else:
        assert native is kind


@pytest.mark.parametrize("kind", primes_figure.KINDS, ids=lambda kind: kind.name)
def test_servers_of_primes(kind: type[primes_figure.Primes], tmp_path: Path) -> None:
    """The words that `underpass.apps.primes.server` knows."""
    module, interface, address, io, arrangement = command(kind, tmp_path)
    assert (module, interface, address) == ("underpass.apps.primes.server", "here", "198.18.0.1")
    assert io in ("dpdk", "afxdp", "busy-poll", "kernel")
    assert arrangement == ("two" if "two threads" in kind.name else "one")
    assert kind.name == "kernel sockets" if io == "kernel" else kind.name.startswith(f"{io}, ")


def test_primes_are_compared_with_dpdk_in_the_same_arrangement() -> None:
    figure = primes_figure.FIGURE
    assert set(figure.configurations) == {kind.name for kind in primes_figure.KINDS} == set(figure.against)
    assert figure.against["afxdp, two threads"] == "dpdk, two threads"
    assert set(figure.against.values()) <= set(figure.configurations)


@pytest.mark.parametrize("flood", ddos_figure.FIGURES)
def test_the_shield_of_each_flood(flood: str, tmp_path: Path) -> None:
    """Its policy is right, and its options are those that the policy needs."""
    shielded = type("Shielded", (ddos_figure.Shielded,), {"flood": flood})
    options = parsed(shielded, tmp_path)
    policy = policy_file.read(options.shield)
    assert policy.text == ddos_figure.POLICIES[flood]
    assert options.admission is (flood in ("syn", "ack"))
    assert options.syn_cookies == ("auto" if flood in ("syn", "ack") else "off")


@pytest.mark.parametrize("figure", [cores_figure.FIGURE, offered.FIGURE, primes_figure.FIGURE,
                                    *ddos_figure.FIGURES.values()], ids=lambda figure: figure.name)
def test_what_is_compared_and_drawn_is_measured(figure: Any) -> None:
    assert set(figure.against) | set(figure.against.values()) <= set(figure.configurations)
    assert {one.value for one in figure.plots} <= set(figure.units)
    assert not figure.against or figure.compared in figure.units
