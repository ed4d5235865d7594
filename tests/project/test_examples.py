"""The examples are real: they build against what is installed, and do what they say."""

import contextlib
import importlib.util
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.netns.opens import listens, opened_by_kernel, opened_by_stack
from tools import cythonize

import underpass
from underpass.linux.namespaces import until
from underpass.testing.clock import MS, SECOND
from underpass.testing.namespaces import VethPair
from underpass.testing.network import Network

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PACKAGES = Path(underpass.__file__).parents[1]


@pytest.fixture(scope="module")
def echo_native(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The native echo server, built as docs/native.md says, from the .pxd files that were installed."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc here")
    folder = tmp_path_factory.mktemp("native")
    source, module = folder / "echo_native.c", folder / f"echo_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert cythonize.main(str(EXAMPLES / "echo_native.pyx"), str(source), str(PACKAGES)) == 0
    include = sysconfig.get_path("include")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", f"-I{include}", source, "-o", module], check=True)
    spec = importlib.util.spec_from_file_location("echo_native", module)
    assert spec is not None and spec.loader is not None
    built = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(built)
    return built


def test_the_native_echo_server_echoes(echo_native: ModuleType) -> None:
    data = bytes(range(256)) * 400
    with Network(seed=1) as network:
        client, server = network.pair()
        echo = echo_native.Echo(server.stack, server.station.v4, 7)
        conn = client.stack.connect((server.station.v4, 7))
        assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
        back = exchange(network, conn, data)
        assert back == data
        assert echo.octets == len(data)
        conn.shutdown()
        assert network.run(until=lambda: echo.ended == 1, for_ns=SECOND)


def exchange(network: Network, conn: underpass.Connection, data: bytes) -> bytes:
    """Send data as there is room and gather what comes back, until it is as much."""
    back, sent = bytearray(), 0
    while len(back) < len(data):
        if sent < len(data):
            with contextlib.suppress(BlockingIOError):
                sent += conn.send(data[sent:])
        network.run(for_ns=10 * MS)
        with contextlib.suppress(BlockingIOError):
            back += conn.recv()
    return bytes(back)


def test_the_native_echo_server_says_when_a_port_is_taken(echo_native: ModuleType) -> None:
    with Network(seed=1) as network:
        _, server = network.pair()
        echo_native.Echo(server.stack, server.station.v4, 7)
        with pytest.raises(OSError, match="in use"):
            echo_native.Echo(server.stack, server.station.v4, 7)


@contextlib.contextmanager
def example(veth: VethPair, name: str, port: int) -> Iterator[None]:
    """An example served in one namespace for the time of the block; Ctrl-C then ends it without a word."""
    command = (sys.executable, str(EXAMPLES / name), veth.ours.interface, veth.ours.v4, str(port))
    server = veth.ours.popen(*command)
    try:
        assert server.stdout is not None
        assert "XDP" in server.stdout.readline()
        yield
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=20)[1]
        assert (server.returncode, said) == (0, "")
    finally:
        server.kill()
        server.wait()


def test_the_echo_server_echoes_to_linux(veth: VethPair) -> None:
    data = bytes(range(256)) * 256
    with example(veth, "echo.py", 7), veth.peer.entered():
        client = socket.create_connection((veth.ours.v4, 7), timeout=20)
        with client, client.makefile("rb") as back:
            client.sendall(data)
            assert back.read(len(data)) == data
            client.shutdown(socket.SHUT_WR)
            assert back.read() == b""


def test_the_http_server_says_hello_to_curl(veth: VethPair) -> None:
    with example(veth, "http_hello.py", 80):
        url = f"http://{veth.ours.v4}/"
        assert veth.peer.run("curl", "-sS", "--max-time", "20", url, url).stdout == "hello\nhello\n"


README = (EXAMPLES.parent / "README.md").read_text()
ASYNCIO, DIRECT = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("words", [
    (ASYNCIO, "underpass.cli", "run", "-i", "IF", "--", "python"), (DIRECT,),
], ids=["asyncio", "direct"])
def test_the_readme_examples_say_hello(veth: VethPair, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, *run = words
    text = code.replace('"eth0"', repr(veth.ours.interface)).replace("10.0.0.2", veth.ours.v4)
    script = tmp_path / "hello.py"
    script.write_text(text)
    run = ["-m", *(veth.ours.interface if it == "IF" else it for it in run)] if run else []
    kernel_s = opened_by_kernel(veth.ours.name)
    server = veth.ours.popen(sys.executable, *run, str(script))
    try:
        assert until(lambda: listens(server, 7000), 20, 0.1)
        assert said_by(veth) == b"hello from user space\n"
        assert opened_by_stack(server, "passive_opens") > 0
        assert opened_by_kernel(veth.ours.name) == kernel_s
    finally:
        server.kill()
        server.wait()


def said_by(veth: VethPair) -> bytes:
    with veth.peer.entered(), socket.create_connection((veth.ours.v4, 7000), timeout=20) as client:
        return client.makefile("rb").read()
