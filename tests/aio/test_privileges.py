"""What a program is told that may not have the interface, or not now: one line, and a status; or the kernel's
TCP serves it.
"""

import re
import sys
from pathlib import Path

import pytest
from tests.aio.conftest import Site
from tests.netns.opens import listens, opened_by_kernel

from underpass.linux.namespaces import until

PORT = 7300
MISSING = r"CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_BPF needed: run as root \(sudo\), or grant them .*"
UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")

# Answers one client and ends. "drops": has its privileges until it is about to listen.
SERVER = """
import asyncio, os, sys

async def main():
    if "drops" in sys.argv:
        os.setresuid(65534, 65534, 65534)
    answered = asyncio.get_running_loop().create_future()

    async def hello(reader, writer):
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()
        answered.set_result(None)

    server = await asyncio.start_server(hello, "0.0.0.0", int(sys.argv[1]))
    await answered
    server.close()

asyncio.run(main())
"""
# The same by `underpass.run` or `underpass.loop_factory`; says which loop it had.
CALLER = """
import asyncio, sys, underpass

async def main():
    return type(asyncio.get_running_loop()).__name__

how, interface, fallback = sys.argv[1:]
options = {"fallback": fallback or None}
try:
    if how == "run":
        print(underpass.run(main(), interface=interface, **options))
    else:
        with asyncio.Runner(loop_factory=underpass.loop_factory(interface, **options)) as runner:
            print(runner.run(main()))
except PermissionError as error:
    sys.exit(str(error))
"""


def words_of(site: Site, folder: Path, *options: str, drops: bool = False) -> list[str]:
    """`underpass run` of the server."""
    script = folder / "server.py"
    script.write_text(SERVER)
    return [sys.executable, "-m", "underpass.cli", "run", "-i", site.pair.server.interface, *options, "--",
            "python", str(script), str(PORT), *(["drops"] if drops else [])]


def is_refused(site: Site, words: list[str], line: str) -> None:
    """It ends with this line, and status 1."""
    done = site.pair.server.run(*words, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(line + "\n", done.stderr), done.stderr


def is_served_by_the_kernel(site: Site, folder: Path, words: list[str], line: str) -> None:
    """It says this line and no other, answers by the kernel's TCP, and ends in order."""
    where = site.pair.server
    before = opened_by_kernel(where.name)
    with (folder / "said").open("w") as log:
        process = where.start(*words, output=log)

    def answered() -> bool:
        with site.client() as client:
            return client.connect_ex((site.host, PORT)) == 0 and client.recv(5) == b"hello"

    try:
        assert until(lambda: answered() or process.poll() is not None, 30, 0.1)
        assert process.wait(20) == 0
    finally:
        where.stop(process)
    assert re.fullmatch(line + "\n", (folder / "said").read_text())
    assert opened_by_kernel(where.name) == before + 1


@pytest.mark.parametrize("drops", [False, True], ids=["never", "until-it-listens"])
def test_without_privileges_a_program_ends_or_is_the_kernel_s(
        site: Site, tmp_path: Path, drops: bool) -> None:
    before = () if drops else UNPRIVILEGED
    is_refused(site, [*before, *words_of(site, tmp_path, drops=drops)], f"underpass: {MISSING}")
    is_served_by_the_kernel(
        site, tmp_path, [*before, *words_of(site, tmp_path, "--fallback", "kernel", drops=drops)],
        f"underpass: TCP stays with the kernel: {MISSING}")


@pytest.mark.parametrize("how", ["run", "factory"])
def test_without_privileges_the_calls_raise_or_say_so(site: Site, tmp_path: Path, how: str) -> None:
    script = tmp_path / "caller.py"
    script.write_text(CALLER)
    words = [*UNPRIVILEGED, sys.executable, str(script), how, site.pair.server.interface]
    is_refused(site, [*words, ""], rf"\[Errno 1\] {MISSING}")
    done = site.pair.server.run(*words, "kernel")
    assert done.stdout == "_UnixSelectorEventLoop\n"
    assert re.fullmatch(f"underpass: TCP stays with the kernel: {MISSING}\n", done.stderr)


def test_a_second_process_ends_or_is_the_kernel_s(site: Site, tmp_path: Path) -> None:
    where, words = site.pair.server, words_of(site, tmp_path)
    first = where.start(*words[:-1], str(PORT + 1))
    try:
        assert until(lambda: listens(first, PORT + 1), 30, 0.1)
        busy = rf"{where.interface} is served by process {first.pid} \(.*\) already: .*"
        is_refused(site, words, f"underpass: {busy}")
        is_served_by_the_kernel(site, tmp_path, words_of(site, tmp_path, "--fallback", "kernel"),
                                f"underpass: TCP stays with the kernel: {busy}")
        assert first.poll() is None
    finally:
        where.stop(first)
