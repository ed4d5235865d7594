"""CPython's own tests of asyncio, on our loop: each that fails is explained here, and no other does."""

import importlib.util
import json
import os
import pkgutil
import re
import sys
from pathlib import Path

import pytest
from tests.aio.conftest import Site

RUNNER = Path(__file__).with_name("cpython.py")
DOCS = Path(__file__).parents[2] / "docs" / "asyncio.md"

# What concerns the network, by module, and whether it has connections of the stack: the last one makes loops
# of asyncio's base classes for those, and mocks.
NETWORK = {
    "test_events": True, "test_streams": True, "test_sslproto": True, "test_server": True,
    "test_sendfile": True, "test_sock_lowlevel": True, "test_buffered_proto": True,
    "test_ssl": True, "test_base_events": False,
}


def others() -> list[str]:
    """What else this Python came with, but for what is Windows's: with `make test-cpython` also these."""
    try:
        package = importlib.util.find_spec("test.test_asyncio")
    except ModuleNotFoundError:
        return []
    where = package.submodule_search_locations if package is not None else None
    names = [it.name for it in pkgutil.iter_modules(where or []) if it.name.startswith("test_")]
    return sorted(it for it in names if it not in NETWORK and "windows" not in it and "proactor" not in it)


OTHERS = others()

NATIVE = "calls a private method that gives the socket's descriptor to os.sendfile()"
EXPLAINED = {
    "test_unix_events.SelectorEventLoopUnixSockSendfileTests.test_sock_sendfile_cancel1": NATIVE,
    "test_unix_events.SelectorEventLoopUnixSockSendfileTests.test_sock_sendfile_cancel2": NATIVE,
}
# Of those that concern the network, these make a loop while another has the interface: with
# fallback="kernel" that is one of asyncio's own.
SECOND = {
    "test_base_events.RunningLoopTests.test_running_loop_within_a_loop",
    "test_events.EPollEventLoopTests.test_add_fds_after_closing",
    "test_events.EPollEventLoopTests.test_internal_fds",
    "test_events.EPollEventLoopTests.test_remove_fds_after_closing",
    "test_events.EPollEventLoopTests.test_unclosed_pipe_transport",
    "test_events.PolicyTests.test_set_event_loop",
    "test_events.TestCGetEventLoop.test_get_event_loop_returns_running_loop",
    "test_events.TestCGetEventLoop.test_get_event_loop_returns_running_loop2",
    "test_events.TestCGetEventLoop.test_get_running_loop_already_running",
    "test_events.TestPyGetEventLoop.test_get_event_loop_returns_running_loop",
    "test_events.TestPyGetEventLoop.test_get_event_loop_returns_running_loop2",
    "test_events.TestPyGetEventLoop.test_get_running_loop_already_running",
    "test_streams.StreamTests.test_open_connection_happy_eyeball_refcycles",
}


@pytest.mark.parametrize("module", [*NETWORK, *OTHERS])
@pytest.mark.timeout(900)
def test_cpython_s_tests_of_asyncio_pass(site: Site, module: str) -> None:
    if module in OTHERS and os.environ.get("CPYTHON") != "all":
        pytest.skip("one of those of `make test-cpython`")
    if importlib.util.find_spec(f"test.test_asyncio.{module}") is None:
        pytest.skip("this Python came without it (Debian's: `make system` installs libpython3.X-testsuite)")
    done = site.pair.server.run(sys.executable, str(RUNNER), site.pair.server.interface, site.host,
                                site.pair.client.name, site.peer, module, timeout_s=850)
    print(done.stdout)                  # shown where it fails
    result = json.loads(done.stdout[done.stdout.rindex("[\n {"):])[0]
    assert result["ran"] > 0
    assert {name: why for name, why in result["bad"].items() if name not in EXPLAINED} == {}
    assert module not in NETWORK or set(result["on_kernel"]) <= SECOND
    assert result["opened"] > 0 or not NETWORK.get(module)


def test_each_that_fails_is_explained_in_the_documentation() -> None:
    told = DOCS.read_text()
    assert [name for name in EXPLAINED if f"`{re.sub(r'^.*[.]', '', name)}`" not in told] == []
