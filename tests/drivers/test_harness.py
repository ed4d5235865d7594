"""The parts of the harness that need no guest: what is fetched, the initramfs, the table."""

import lzma
import subprocess
import sys
from pathlib import Path

import pytest
from tests.drivers import packages
from tests.drivers.cards import CARDS, matrix
from tests.drivers.image import Modules, archive, initramfs
from tests.drivers.machine import link_all


def entries(octets: bytes) -> dict[str, tuple[int, bytes]]:
    """A cpio archive's files: mode and content."""
    found, at = {}, 0
    while True:
        assert octets[at:at + 6] == b"070701"
        fields = [int(octets[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name_at, (mode, size, name_bytes) = at + 110, (fields[1], fields[6], fields[11])
        data_at = (name_at + name_bytes + 3) & ~3
        name = octets[name_at:name_at + name_bytes - 1].decode()
        if name == "TRAILER!!!":
            return found
        found[name] = mode, octets[data_at:data_at + size]
        at = (data_at + size + 3) & ~3


@pytest.mark.parametrize("size", range(5))
def test_an_archive_holds_what_was_put_in(size: int) -> None:
    files = {"init": (0o100755, b"#" * size), "dir": (0o040755, b""), "dir/longer": (0o100644, b"x" * 100)}
    assert entries(archive(files)) == files


def test_modules_come_after_what_they_depend_on(tmp_path: Path) -> None:
    """Names with a dash are the same as with an underscore; what is built in does not come."""
    def module(name: str, *needed: str) -> None:
        octets = b"\x7fELF\0depends=" + ",".join(needed).encode() + b"\0"
        (tmp_path / f"{name}.ko.xz").write_bytes(lzma.compress(octets))

    module("igb", "i2c-algo-bit", "dca", "builtin")
    module("i2c-algo-bit")
    module("dca")
    module("e1000e", "dca")
    (tmp_path / "busybox").write_bytes(b"busybox")
    found = entries(initramfs(tmp_path / "busybox", Modules(tmp_path), ("igb", "e1000e", "builtin"), "init"))
    names = [name.split("/")[1] for name in found if name.startswith("modules/")]
    assert names == ["000-i2c_algo_bit.ko", "001-dca.ko", "002-igb.ko", "003-e1000e.ko"]
    assert found["modules/002-igb.ko"][1].startswith(b"\x7fELF")
    assert found["init"] == (0o100755, b"init")


def test_a_folder_of_links_stands_for_a_tree(tmp_path: Path) -> None:
    (tmp_path / "there.py").write_text("here = 1")
    link_all({"package": {"module.py": str(tmp_path / "there.py")}}, tmp_path / "links")
    assert (tmp_path / "links" / "package" / "module.py").read_text() == "here = 1"


def test_where_nothing_can_be_fetched_one_line_says_why(tmp_path: Path) -> None:
    script = "import sys; from tests.drivers import packages as it; from pathlib import Path\n" \
             f"it.prepare.__defaults__ = (Path({str(tmp_path)!r}),)\nit.main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PATH": "/nowhere", "PYTHONPATH": ":".join(sys.path)},
        cwd=packages.REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ("make test-drivers cannot run here: no apt-get here: qemu and the guest's kernel"
                           " come from Debian's packages\n")


def test_other_machines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(packages.Unavailable, match="the guest is an x86_64 machine, and this one is aarch64"):
        packages.prepare(tmp_path)


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root" / "boot").mkdir(parents=True)
    (tmp_path / "root" / "boot" / "vmlinuz-6.14").touch()
    monkeypatch.setattr("subprocess.run", None)
    assert packages.prepare(tmp_path).kernel.name == "vmlinuz-6.14"


def test_every_card_has_its_row_without_a_gap() -> None:
    assert list(matrix()) == list(CARDS)
    assert all(all(row.values()) for row in matrix().values())
