"""The policy in force, and blocks, go on over `underpass restart` and with another supervisor."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.netns.test_shield import POLICY, datagrams, fetch, shield, site  # noqa: F401
from tests.share.test_systemd import setting

from underpass.linux.namespaces import until
from underpass.testing.namespaces import VethPair
from underpass.workers.adoption import orphans

OTHER = POLICY.replace("5353", "53") + '[[services.rate]]\nper = "source"\nsyns = 1000\n'
# Those of the service, what docs/operator.md says workers need beyond, and one for LimitMEMLOCK.
CAPABILITIES = [*setting("CapabilityBoundingSet").split(), "CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE",
                "CAP_SYS_ADMIN", "CAP_IPC_LOCK"]
CONFINED = ("setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,"
            + ",".join("+" + it.removeprefix("CAP_").lower() for it in CAPABILITIES))


class Server:
    """`underpass serve --workers 1 --shield FILE`, restarted and followed by others."""

    def __init__(self, veth: VethPair, folder: Path, before: tuple[str, ...]) -> None:
        self.veth, self.folder, self.before = veth, folder, before
        self.policy = folder / "shield.toml"
        self.process = self.start()

    def start(self) -> "subprocess.Popen[str]":
        words = ("-m", "underpass.cli", "serve", str(self.folder / "site"), "-i", self.veth.ours.interface,
                 "--workers", "1", "--shield", str(self.policy))
        process = subprocess.Popen(self.veth.ours.command(*self.before, sys.executable, *words),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("serving"):
                return process
        raise AssertionError(said)

    def restart(self) -> None:
        words = (sys.executable, "-m", "underpass.cli", "restart", "--pid", str(self.process.pid))
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode == 0, done.stderr
        assert until(lambda: fetch(self.veth) == "hello\n", 20)

    def load(self, text: str) -> None:
        (self.folder / "other.toml").write_text(text)
        shield(self.veth.ours, "load", str(self.folder / "other.toml"))

    def shows(self, text: str) -> list[str]:
        """That this is the policy in force, or comes to be; the prefixes that are blocked."""
        assert until(lambda: shield(self.veth.ours, "show").strip().startswith(text.strip()), 20)
        return re.findall(r"^(\S+)  +blocked", shield(self.veth.ours, "show"), re.MULTILINE)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        with self.veth.ours.entered():
            for it in orphans(self.veth.ours.interface):
                os.kill(it.pid, signal.SIGKILL)


@pytest.fixture(params=[(), CONFINED], ids=["as root", "as a service"])
def server(veth: VethPair, site: Path, request: pytest.FixtureRequest) -> Iterator[Server]:  # noqa: F811
    with closing(Server(veth, site, request.param)) as it:
        yield it


def test_a_policy_that_was_loaded_meanwhile_goes_on_over_a_restart(server: Server, veth: VethPair) -> None:
    """With its blocks, whatever has become of the file that the server was started with."""
    server.load(OTHER)
    shield(veth.ours, "block", "203.0.113.0/24", "--for", "1h")
    server.policy.write_text("[interface]\ndrop = 'upd'\n")
    for _ in range(2):
        server.restart()
        assert server.shows(OTHER) == ["203.0.113.0/24"]
        assert (datagrams(veth, 5000), datagrams(veth, 53)) == (0, 10)


def test_without_a_policy_a_restart_takes_the_file_s(server: Server, veth: VethPair) -> None:
    shield(veth.ours, "block", "203.0.113.0/24")
    shield(veth.ours, "unload")
    server.policy.write_text(OTHER)
    server.restart()
    assert server.shows(OTHER) == ["203.0.113.0/24"]
    assert (datagrams(veth, 5000), datagrams(veth, 53)) == (0, 10)


def test_the_next_supervisor_keeps_the_policy_in_force(server: Server, veth: VethPair) -> None:
    server.load(OTHER)
    shield(veth.ours, "block", "203.0.113.0/24")
    server.process.kill()
    server.process.wait()
    server.process = server.start()
    assert server.shows(OTHER) == ["203.0.113.0/24"]
    assert fetch(veth) == "hello\n"
    assert (datagrams(veth, 5000), datagrams(veth, 53)) == (0, 10)
