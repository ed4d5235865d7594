"""CPython's own tests of asyncio, on our loop: each that fails is explained here, and no other does."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest
from tests.aio.conftest import Site

RUNNER = Path(__file__).with_name("cpython.py")
DOCS = Path(__file__).parents[2] / "docs" / "asyncio.md"

# What concerns the network, by module, and whether its connections must have been the stack's.
NETWORK = {
    "test_events": True, "test_streams": True, "test_sslproto": False, "test_server": False,
    "test_sendfile": True, "test_sock_lowlevel": False, "test_buffered_proto": True,
    "test_base_events": False,
}
# With `make test-cpython` also these.
OTHERS = [
    "test_context", "test_eager_task_factory", "test_futures", "test_futures2", "test_locks", "test_pep492",
    "test_protocols", "test_queues", "test_runners", "test_selector_events", "test_ssl", "test_subprocess",
    "test_taskgroups", "test_tasks", "test_threads", "test_timeouts", "test_transports", "test_unix_events",
    "test_waitfor",
]

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
        pytest.skip("this Python came without it (Debian: libpython3.X-testsuite)")
    done = site.pair.server.run(sys.executable, str(RUNNER), site.pair.server.interface, site.host, module,
                                timeout_s=850)
    result = json.loads(done.stdout[done.stdout.rindex("[\n {"):])[0]
    assert result["ran"] > 0
    assert {name: why for name, why in result["bad"].items() if name not in EXPLAINED} == {}
    assert module not in NETWORK or set(result["on_kernel"]) <= SECOND
    assert result["opened"] > 0 or not NETWORK.get(module)


def test_each_that_fails_is_explained_in_the_documentation() -> None:
    told = DOCS.read_text()
    assert [name for name in EXPLAINED if f"`{re.sub(r'^.*[.]', '', name)}`" not in told] == []
