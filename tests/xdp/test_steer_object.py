"""What the kernel takes of the XDP program, whoever compiled it, and which maps come with it."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from underpass.xdp import steer_object
from underpass.xdp.steer_object import FEATURES, MAPS, SteerObject

SOURCE = Path(__file__).resolve().parents[2] / "src" / "underpass" / "xdp" / "steer.bpf.c"
CLANGS = [it for it in ("clang", *(f"clang-{version}" for version in range(14, 30))) if shutil.which(it)]


@pytest.mark.parametrize("compiler", CLANGS)
@pytest.mark.parametrize("features", [(), tuple(FEATURES)], ids=["none", "all"])
def test_the_kernel_takes_what_every_clang_here_makes_of_it(
    compiler: str, features: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    netns_allowed: None,
) -> None:
    """Each compares and adds in an order of its own, in which the verifier has to find the bounds."""
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    subprocess.run([compiler, "-target", "bpf", "-mcpu=v3", "-O2", "-g", headers, "-c", SOURCE,
                    "-o", tmp_path / "steer.bpf.o"], check=True)
    monkeypatch.setattr(steer_object, "files", lambda _: tmp_path)
    loaded = SteerObject(features, multi_buffer=False, both=True)
    assert loaded.program_fd >= 0
    assert loaded.other_fd >= 0
    loaded.close()


@pytest.mark.parametrize("features", [(), ("filters",), tuple(FEATURES)], ids=["none", "one", "all"])
def test_there_are_the_maps_that_the_features_need(features: tuple[str, ...], netns_allowed: None) -> None:
    loaded = SteerObject(features, multi_buffer=False)
    absent = {name for name, needed in MAPS.items() if not needed & set(features)}
    assert loaded.maps().keys() & MAPS.keys() == MAPS.keys() - absent
    assert {os.readlink(f"/proc/self/fd/{fd}") for fd in loaded.maps().values()} == {"anon_inode:bpf-map"}
    for name in absent:
        with pytest.raises(KeyError):
            loaded.map(name)
    loaded.close()
