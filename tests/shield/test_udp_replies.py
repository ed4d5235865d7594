"""Where UDP is dropped, Linux's own sockets get answers to what they asked, and nothing else."""

import socket
from collections.abc import Iterator

import pytest

from underpass.linux.namespaces import until
from underpass.linux.netdev_features import netdev_features
from underpass.shield import policy_file
from underpass.shield.shield import Shield, chosen_ports
from underpass.testing.namespaces import End, VethPair
from underpass.xdp.loader import XdpProgram

POLICIES = {"drop": ("drop = ['udp']", "dropped_protocol"),
            "default": ("default = 'drop'", "dropped_default")}
FAMILIES = {"v4": socket.AF_INET, "v6": socket.AF_INET6}


@pytest.fixture(params=["native", "generic"])
def program(veth: VethPair, request: pytest.FixtureRequest) -> Iterator[XdpProgram]:
    with veth.ours.entered():
        loaded = XdpProgram(netdev_features(veth.ours.interface), request.param)
    with loaded:
        yield loaded


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A section that drops UDP, and the reason that is counted."""
    key, reason = POLICIES[request.param]
    return f"[interface]\n{key}\n", reason


def load(veth: VethPair, program: XdpProgram, text: str) -> None:
    with veth.ours.entered():
        Shield(program, program.netdev.index).load(policy_file.parse(text))


def opened(end: End, family: str, port: int = 0) -> socket.socket:
    with end.entered():
        sock = socket.socket(FAMILIES[family], socket.SOCK_DGRAM)
    sock.settimeout(20)
    if port:
        sock.bind((getattr(end, family), port))
    return sock


def is_dropped(program: XdpProgram, reason: str, sender: socket.socket, to: tuple[str, int]) -> bool:
    """Send one datagram; whether it is counted as dropped for that reason."""
    before = program.counters()
    sender.sendto(b"answer", to)
    assert until(lambda: any(program.counters()[it] > before[it] for it in (reason, "passed_not_tcp")), 20)
    return program.counters()[reason] == before[reason] + 1


def test_a_socket_gets_the_answer_to_what_it_asked(
    program: XdpProgram, veth: VethPair, family: str, policy: tuple[str, str]
) -> None:
    """Connected or not; the port is one that Linux chose."""
    text, reason = policy
    load(veth, program, text)
    answers = getattr(veth.peer, family), 5300
    with opened(veth.peer, family, 5300) as peer, opened(veth.ours, family) as client:
        client.sendto(b"question", answers)
        asked, who = peer.recvfrom(100)
        peer.sendto(b"answer", who)
        assert (asked, client.recv(100)) == (b"question", b"answer")
        client.connect(answers)
        peer.sendto(b"more", who)
        assert client.recv(100) == b"more"
    assert program.counters()[reason] == 0


def test_what_nobody_waits_for_is_dropped(
    program: XdpProgram, veth: VethPair, family: str, policy: tuple[str, str]
) -> None:
    """No socket there, one that asked somebody else, one on a port that was chosen by its program."""
    text, reason = policy
    load(veth, program, text)
    ours = getattr(veth.ours, family)
    with opened(veth.peer, family, 5300) as peer, opened(veth.peer, family, 5301) as other, \
            opened(veth.ours, family) as client, opened(veth.ours, family, 5000):
        client.connect((getattr(veth.peer, family), 5300))
        port = client.getsockname()[1]
        with veth.ours.entered():
            first, last = chosen_ports()
        assert first <= port <= last
        assert is_dropped(program, reason, other, (ours, port))
        assert is_dropped(program, reason, peer, (ours, port + 1 if port < last else first))
        assert is_dropped(program, reason, peer, (ours, 5000))
        assert not is_dropped(program, reason, peer, (ours, port))
        assert client.recv(100) == b"answer"


def test_answers_are_dropped_where_the_policy_says_so(
    program: XdpProgram, veth: VethPair, family: str, policy: tuple[str, str]
) -> None:
    text, reason = policy
    load(veth, program, text + "udp-replies = false\n")
    with opened(veth.peer, family, 5300) as peer, opened(veth.ours, family) as client:
        client.sendto(b"question", (getattr(veth.peer, family), 5300))
        _, who = peer.recvfrom(100)
        assert is_dropped(program, reason, peer, who[:2])
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
