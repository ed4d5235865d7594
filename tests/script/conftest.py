"""A stack under test on a scripted wire, and what passed in the report of a test that failed."""

import pytest

from underpass.testing.peer import Peer, Wire


def pytest_configure(config):
    config.addinivalue_line("markers", "wire(**limits): limits of the stack under test, frames and mtu")


@pytest.fixture
def wire(request):
    """A stack that listens on port 80 of all its addresses; `@pytest.mark.wire(...)` sets its limits."""
    mark = request.node.get_closest_marker("wire")
    wire = Wire(**(mark.kwargs if mark else {}))
    wire.stack.listen(("0.0.0.0", 80))
    wire.stack.listen(("::", 80))
    yield wire
    wire.network.close()


@pytest.fixture
def peer(wire) -> Peer:
    """A remote end that talks to port 80."""
    return wire.peer()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the segments that passed."""
    report = yield
    wire = getattr(item, "funcargs", {}).get("wire")
    if report.failed and wire is not None:
        report.sections.append(("segments", "\n".join(wire.log[-60:])))
    return report
