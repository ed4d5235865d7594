"""matplotlib, which draws into files: asked for before what is to be drawn is measured, loaded after it."""

from importlib.util import find_spec
from typing import Any


def check() -> None:
    """Raise ImportError where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib: pip install 'underpass[bench]'")


def pyplot() -> Any:
    """Its pyplot, which needs no screen. Raises ImportError without matplotlib."""
    check()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
