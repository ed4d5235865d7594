"""A user-space TCP stack for Python on AF_XDP, beside Linux. Each name is loaded when it is first used."""

from typing import Any

__all__ = ["ACCEPTED", "CLOSED", "CONNECTED", "READABLE", "TROUBLE", "URGENT", "WRITABLE",
           "AdmissionPlan", "Connection", "Listener", "Stack", "__version__", "attach", "install",
           "loop_factory", "on_restart", "run"]

_HOMES = {
    "attach": "underpass.nic",
    "AdmissionPlan": "underpass.linux.admission",
    "install": "underpass.aio.factory",
    "loop_factory": "underpass.aio.factory",
    "run": "underpass.aio.factory",
    "on_restart": "underpass.aio.restart",
    "Stack": "underpass.stack.stack",
    "Connection": "underpass.stack.sockets",
    "Listener": "underpass.stack.sockets",
    "ACCEPTED": "underpass.stack.stack",
    "CONNECTED": "underpass.stack.stack",
    "READABLE": "underpass.stack.stack",
    "WRITABLE": "underpass.stack.stack",
    "URGENT": "underpass.stack.stack",
    "TROUBLE": "underpass.stack.stack",
    "CLOSED": "underpass.stack.stack",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("underpass")
    if name not in _HOMES:
        raise AttributeError(f"module 'underpass' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
