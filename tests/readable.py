"""Directories of tests that a worker's user can read: pytest's are their owner's alone."""

from pathlib import Path

TMP = Path("/tmp")


def make_readable(directory: Path) -> None:
    """This one and those above it."""
    for place in (directory, *directory.parents):
        if place.is_relative_to(TMP) and place != TMP:
            place.chmod(0o755)


def web_root(scratch: Path) -> Path:
    """A new directory to serve, with an index."""
    root = scratch / "root"
    root.mkdir()
    make_readable(root)
    (root / "index.html").write_bytes(b"index")
    return root
