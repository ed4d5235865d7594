"""`underpass run`: programs that know nothing of it, as processes of their own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.aio.conftest import Site
from tests.netns.opens import listens, opened_by_kernel, opened_by_stack

from underpass.aio.launch import program_of
from underpass.linux.namespaces import until

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
SERVER = """
import asyncio, sys
async def main():
    async def hello(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 5\\r\\n\\r\\nhello")
        writer.close()
    await (await asyncio.start_server(hello, "0.0.0.0", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""


@contextmanager
def program(site: Site, folder: Path, *words: str, serves: int | None,
            connects: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """A running program whose output is in folder/log, once the stack listens on its port, if it serves one.

    At the end of the block the stack must have had its connections, and the kernel none. A client has ended
    by then, and its counters with it: that another namespace answered it, and not by the kernel, is enough.
    """
    where = site.pair.server
    kernel_s = opened_by_kernel(where.name)
    command = (sys.executable, "-m", "underpass.cli", "run", "-i", where.interface, "--", *words)
    with (folder / "log").open("w") as log:
        process = where.start("env", f"PYTHONPATH={folder}", *command, output=log)

    def said() -> str:
        return (folder / "log").read_text()

    try:
        if serves is not None:
            until(lambda: listens(process, serves) or process.poll() is not None, 30, 0.1)
            assert process.poll() is None and listens(process, serves), said()
        yield process
        assert f"underpass: {where.interface} (veth): generic XDP" in said()
        assert serves is None or opened_by_stack(process, "passive_opens") > 0
        assert not connects or opened_by_stack(process, "active_opens") > 0
        assert opened_by_kernel(where.name) == kernel_s
    finally:
        where.stop(process)


def answers(site: Site) -> bool:
    return site.pair.client.run("curl", "-sS", "--max-time", "2", f"http://{site.host}:8000/",
                                check=False).stdout == "hello"


@pytest.mark.parametrize("words", [
    ["uvicorn", "app:app", "--host", "0.0.0.0", "--lifespan", "off"],
    ["uvicorn", "app:app", "--host", "0.0.0.0", "--lifespan", "off", "--loop", "asyncio"],
    ["python", "-m", "uvicorn", "app:app", "--host", "0.0.0.0", "--lifespan", "off"],
    ["hypercorn", "app:app", "--bind", "0.0.0.0:8000"],
    ["gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "1", "-b", "0.0.0.0:8000", "app:app"],
    ["python", "server.py", "8000"],
], ids=lambda words: "-".join(words[:3]))
def test_a_program_is_served_by_the_stack(site: Site, tmp_path: Path, words: list[str]) -> None:
    for name in ("uvicorn", "hypercorn", "gunicorn"):
        if name in words:
            pytest.importorskip(name)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "server.py").write_text(SERVER)
    words = [str(tmp_path / it) if it == "server.py" else it for it in words]
    with program(site, tmp_path, *words, serves=8000):
        assert answers(site)
    assert "xdp" not in site.pair.server.run("ip", "link", "show", site.pair.server.interface).stdout


ASKS = """
import asyncio, importlib.util, sys

assert importlib.util.find_spec("uvloop").name == "uvloop"
import uvloop

class Own(uvloop.Loop):
    def __init__(self):
        super().__init__()
        self.own = True

class Later(asyncio.SelectorEventLoop):
    def call_soon(self, *words, **options):
        self.calls = getattr(self, "calls", 0) + 1
        return super().call_soon(*words, **options)

def loop_is(*kinds):
    return [isinstance(asyncio.get_running_loop(), kind) for kind in kinds]

async def main(serves):
    loop = asyncio.get_running_loop()
    assert loop_is(uvloop.Loop, asyncio.SelectorEventLoop, asyncio.AbstractEventLoop) == [True] * 3
    assert issubclass(type(loop), uvloop.Loop) and not issubclass(int, uvloop.Loop)
    assert loop_is(Own, Later) == [serves is Own, serves is Later], type(loop)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "0.0.0.0", 0)
    assert loop.nic.name == sys.argv[1]
    server.close()
    assert serves is not Own or loop.own
    assert serves is not Later or loop.calls

asyncio.run(main(None))
uvloop.run(main(None))
uvloop.run(main(Own), loop_factory=Own)
for kind in (Own, Later, uvloop.Loop, asyncio.SelectorEventLoop):
    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(main(kind if kind in (Own, Later) else None))
print("all of them")
"""


def test_a_program_finds_and_derives_from_loops_by_their_names(site: Site, tmp_path: Path) -> None:
    script = tmp_path / "asks.py"
    script.write_text(ASKS)
    name = site.pair.server.interface
    done = site.pair.server.run(sys.executable, "-m", "underpass.cli", "run", "-i", name, "--", "python",
                                str(script), name, check=False)
    assert (done.stdout, done.returncode) == ("all of them\n", 0), done.stderr


def test_what_is_no_python_program_is_one_line(site: Site) -> None:
    for words in (["/bin/ls"], ["python", "-c", "1"], ["no-such-command"]):
        with pytest.raises(ValueError, match=r"no script, module or command|followed by a script"):
            program_of(words)


def test_the_interface_s_absence_is_one_line_and_the_program_does_not_run(site: Site, tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    done = site.pair.server.run(sys.executable, "-m", "underpass.cli", "run", "-i", "eth9", "--", "python",
                                str(script), "8000", check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "eth9 does not exist" in done.stderr
