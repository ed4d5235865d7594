"""The guest's initramfs: busybox, kernel modules in the order of loading, and a script that runs the agent.

The guest has no disk and no system of its own: its root is this machine's, read-only, by 9p. So Python, the
package and the tests lie in the guest where they lie here.
"""

import lzma
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

S_IFDIR, S_IFREG = 0o040000, 0o100000
DEPENDS = re.compile(rb"\0depends=([^\0]*)")


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """A cpio archive of path -> mode, octets (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()
    for number, (path, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))]):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


class Modules:
    """A kernel's modules, by their names."""

    def __init__(self, folder: Path) -> None:
        self.paths = {path.name.split(".")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}

    def read(self, name: str) -> bytes:
        """A module as the kernel loads it."""
        path = self.paths[name]
        match path.suffix:
            case ".xz":
                return lzma.decompress(path.read_bytes())
            case ".zst":
                return subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
            case _:
                return path.read_bytes()

    def in_order(self, names: Iterable[str], seen: set[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """What is to be loaded for `names`, each after what it depends on. What is built in has no file."""
        seen = set() if seen is None else seen
        for name in names:
            if name in seen or name not in self.paths:
                continue
            seen.add(name)
            octets = self.read(name)
            found = DEPENDS.search(octets)
            needed = found[1].decode().replace("-", "_").split(",") if found else []
            yield from self.in_order(needed, seen)
            yield name, octets


def initramfs(busybox: Path, modules: Modules, names: Iterable[str], init: str) -> bytes:
    """The archive: /init is that shell script, and /modules has the modules in their order."""
    files = {name: (S_IFDIR | 0o755, b"") for name in ("bin", "modules", "host", "proc", "sys", "dev")}
    files["bin/busybox"] = (S_IFREG | 0o755, busybox.read_bytes())
    files["init"] = (S_IFREG | 0o755, init.encode())
    for number, (name, octets) in enumerate(modules.in_order(names)):
        files[f"modules/{number:03}-{name}.ko"] = (S_IFREG | 0o644, octets)
    return archive(files)
