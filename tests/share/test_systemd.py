"""The systemd unit: well formed, hardened, and with capabilities that suffice for a server to run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair

SHARE = Path(__file__).parents[2] / "share"
UNIT = SHARE / "systemd/underpass@.service"
EXPOSURE_MOST = 4.5                 # of 10, as `systemd-analyze security` reckons it; "medium" begins at 5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def setting(name: str) -> str:
    """The value of a line of the unit."""
    found = re.search(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found, name
    return found[1]


@needs_systemd
def test_systemd_finds_the_unit_right(tmp_path: Path) -> None:
    """With a command that is there in place of the installed one."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/underpass", shutil.which("true") or "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True,
                          text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "underpass" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
def test_the_unit_exposes_little(tmp_path: Path) -> None:
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", str(UNIT)],
                          capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MOST, done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_the_unit_s_capabilities_suffice_for_a_configured_server(tmp_path: Path) -> None:
    """The server reads its file, serves, and has no other capability while it does."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    assert setting("LimitMEMLOCK") == "infinity"
    names = [name.removeprefix("CAP_").lower() for name in setting("CapabilityBoundingSet").split()]
    names.append("ipc_lock")        # for LimitMEMLOCK, which not every root may raise
    config = tmp_path / "site.toml"

    class Confined(Underpass):
        def command(self) -> list[str]:
            return ["setpriv", "--no-new-privs", "--inh-caps=-all",
                    "--bounding-set=-all," + ",".join(f"+{name}" for name in names),
                    sys.executable, "-m", "underpass.cli", "serve", "--config", str(config)]

    with Pair() as pair:
        config.write_text(f'directory = "{root}"\ninterface = "{pair.server.interface}"\n')
        server = Confined(pair, root, tmp_path, None)
        assert pair.client.run("curl", "-sS", server.url("")).stdout == "index"
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        effective = int(re.findall(r"CapEff:\s*(\w+)", status)[0], 16)
        assert effective.bit_count() == len(names)
        assert server.stop() == 0


def test_the_default_file_is_what_the_unit_reads() -> None:
    assert setting("EnvironmentFile") == "-/etc/default/underpass"
    assert "UNDERPASS_OPTIONS=" in (SHARE / "default/underpass").read_text()
    assert "$UNDERPASS_OPTIONS" in setting("ExecStart")
