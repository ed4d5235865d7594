"""qemu and a kernel with the drivers that are tested, from Debian's packages, kept in build/drivers.

Debian 12's own are too old: igb came to qemu with 8.0, and zero-copy for igb to Linux with 6.14. They are
fetched from its backports and those of the next release, from the machine's own mirror, and unpacked, not
installed: apt is given lists and a cache of its own, and the machine's stay as they are.

Usage: python -m tests.drivers.packages
"""

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FOLDER = REPOSITORY / "build" / "drivers"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KERNEL_SUITE = "trixie-backports"
KERNEL_OLDEST = (6, 14)
QEMU = "qemu-system-x86"
BUSYBOX = "busybox-static"
TARGETS = "$(REPO_URI) $(RELEASE) $(COMPONENT)"


class Unavailable(Exception):
    """The packages cannot be had here; the message is one line that says why."""


@dataclass(frozen=True)
class Packages:
    """Where everything lies."""

    root: Path

    @property
    def kernel(self) -> Path:
        """The compressed kernel."""
        return self._only("usr/lib/modules/*/vmlinuz", "boot/vmlinuz-*")

    @property
    def modules(self) -> Path:
        """The folder of its modules."""
        return self._only("usr/lib/modules/*/kernel", "lib/modules/*/kernel")

    def _only(self, *patterns: str) -> Path:
        return next(path for pattern in patterns for path in self.root.glob(pattern))

    @property
    def busybox(self) -> Path:
        """Without libraries."""
        return self.root / "bin/busybox"

    def qemu(self) -> list[str]:
        """The command, with its libraries and firmware beside it."""
        libraries = ":".join(str(self.root / it / "x86_64-linux-gnu") for it in ("usr/lib", "lib"))
        firmware = ("qemu", "seabios")
        return ["env", f"LD_LIBRARY_PATH={libraries}", str(self.root / "usr/bin/qemu-system-x86_64"),
                *(word for it in firmware for word in ("-L", str(self.root / "usr/share" / it)))]


def prepare(folder: Path = FOLDER) -> Packages:
    """What is there already, or else fetched now. Raises Unavailable."""
    packages = Packages(folder / "root")
    if not packages.root.is_dir():
        _refuse_other_machines()
        apt = Apt(folder / "apt")
        apt.update()
        debs = apt.download()
        _unpack(debs, packages.root)
        shutil.rmtree(folder / "apt")
    return packages


def _refuse_other_machines() -> None:
    if platform.machine() != "x86_64":
        raise Unavailable(f"the guest is an x86_64 machine, and this one is {platform.machine()}")
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise Unavailable(f"no {program} here: qemu and the guest's kernel come from Debian's packages")


def _unpack(debs: list[Path], root: Path) -> None:
    """All of them into a new folder, which gets its name when it is whole."""
    unfinished = root.with_name("root.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for deb in debs:
        _run("dpkg-deb", "-x", str(deb), str(unfinished))
    unfinished.rename(root)


def _run(*command: str, cwd: Path | None = None) -> str:
    """A command's output. Raises Unavailable with the last line that it wrote."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=900)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise Unavailable(f"{command[0]} {command[-1]}: {said[-1]}")
    return done.stdout


class Apt:
    """apt with lists and a cache of its own; what is installed, keys and proxies are the machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        self.suites = list(dict.fromkeys((self.release, f"{self.release}-backports", KERNEL_SUITE)))
        self.options = [f"-o{name}={value}" for name, value in {
            "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": folder / "lists", "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root", "Debug::NoLocking": 1}.items()]

    def update(self) -> None:
        """Write the sources, and fetch the lists of packages."""
        key = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        lines = [f"deb {key}{mirror(self.release)} {suite} main\n" for suite in self.suites]
        (self.folder / "sources.list").write_text("".join(lines))
        _run("apt-get", *self.options, "-oAPT::Update::Error-Mode=any", "update")

    def download(self) -> list[Path]:
        """Fetch qemu with what it needs and is not installed, and the kernel with its modules alone."""
        _run("apt-get", *self.options, "-qq", "-y", "--download-only", "--no-install-recommends",
             f"-t{self.release}-backports", "install", QEMU)
        archives = self.folder / "cache/archives"
        _run("apt-get", *self.options, "-qq", "download", BUSYBOX, *self._kernel(), cwd=archives)
        return sorted(archives.glob("*.deb"))

    def _kernel(self) -> list[str]:
        """The packages of the newest kernel of the suite: in one, or in parts."""
        (image,) = re.findall(r"linux-image-\d\S+", self._depends(f"linux-image-amd64/{KERNEL_SUITE}"))
        version = tuple(map(int, re.findall(r"\d+", image)[:2]))
        if version < KERNEL_OLDEST:
            oldest = ".".join(map(str, KERNEL_OLDEST))
            raise Unavailable(f"{KERNEL_SUITE} has {image}, and Linux {oldest} is needed")
        parts = re.findall(r"linux-(?:binary|modules)-\S+", self._depends(image))
        return [image, *parts]

    def _depends(self, package: str) -> str:
        """The line with what a package depends on."""
        shown = _run("apt-cache", *self.options, "--no-all-versions", "show", package)
        return next(line for line in shown.splitlines() if line.startswith("Depends:"))


def mirror(release: str) -> str:
    """Where this machine gets Debian's packages from."""
    for line in _run("apt-get", "indextargets", "--format", TARGETS, "Identifier: Packages").splitlines():
        where, suite, component = line.split()
        if (suite, component) == (release, "main"):
            return where
    raise Unavailable(f"apt of this machine knows no Debian mirror for {release or 'its release'}")


def main() -> None:
    """Have them here, or say why not."""
    try:
        print(f"the guest's kernel: {prepare().kernel}")
    except Unavailable as error:
        sys.exit(f"make test-drivers cannot run here: {error}")


if __name__ == "__main__":
    main()
