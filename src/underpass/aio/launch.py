"""Run a Python program that knows nothing of Underpass, with its event loops on an interface.

The loops that the program asks for by any of asyncio's names, or by uvloop's, are ours: `python -m module`, a
script, or a command that a package installed runs in this process, as if it had been started itself.
"""

import asyncio
import multiprocessing
import os
import pkgutil  # noqa: F401   runpy asks for it late, when the user may not read Python's own folder any more
import runpy
import shutil
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from underpass.aio.factory import KernelLoop, loop_factory
from underpass.aio.loop import StackEventLoop
from underpass.log import write_line

NAMES = ("SelectorEventLoop", "EventLoop")      # the second since 3.13
Maker = Callable[[], asyncio.AbstractEventLoop]


class Inherited:
    """Takes over in processes that the program starts by multiprocessing: it is unpickled there first."""

    def __init__(self, interface: str, options: dict[str, Any]) -> None:
        self.interface, self.options = interface, options

    def __reduce__(self) -> Any:
        return take_over, (self.interface, self.options)


def take_over(interface: str, options: dict[str, Any]) -> Inherited:
    """From now on event loops are on this interface, by whatever name they are asked for.

    Where it cannot be had, the process that asks ends, with one line on stderr. `options`: of `loop_factory`.
    """
    inherited = Inherited(interface, options)
    defaults: dict[str, Any] = {"say": say, "late": True}
    put_in_place(loop_factory(interface, **defaults | options), inherited)
    return inherited


def put_in_place(factory: Maker, inherited: Any) -> None:
    """What `factory` makes is what the program gets, by whatever name it asks for an event loop. `inherited`
    does the same, once unpickled, in processes that the program starts by multiprocessing.
    """
    def make() -> asyncio.AbstractEventLoop:
        try:
            return factory()
        except OSError as error:
            warnings.simplefilter("ignore", RuntimeWarning)     # of coroutines that nobody will await
            line = f"underpass: {error.strerror or error}"
            if threading.current_thread() is not threading.main_thread():
                say(line)               # what ends a thread is not shown
            sys.exit(line)

    kind = class_of(make)
    for module in (asyncio, asyncio.unix_events):
        for name in NAMES:
            if hasattr(module, name):
                setattr(module, name, kind)
    policy: Any = asyncio.unix_events._UnixDefaultEventLoopPolicy
    policy._loop_factory = staticmethod(make)       # what asyncio.run and new_event_loop ask
    sys.modules["uvloop"] = stand_in(make, kind)
    process: Any = multiprocessing.current_process()
    process._config["underpass"] = inherited


class Ours(type):
    """The class of a class that stands for asyncio's and uvloop's loops: each of them is one to isinstance().
    """

    def __instancecheck__(cls, it: object) -> bool:
        return issubclass(type(it), cls)

    def __subclasscheck__(cls, kind: type) -> bool:
        first = cls.__bases__ == (StackEventLoop,)
        return super().__subclasscheck__(kind) or (first and KernelLoop in kind.__mro__)


def class_of(make: Maker) -> type:
    """What programs call to make a loop, look for with isinstance(), and derive from."""
    class Loop(StackEventLoop, metaclass=Ours):
        def __new__(cls, *_: Any, **__: Any) -> Any:
            it = make()
            if cls is not Loop and isinstance(it, StackEventLoop):
                it.__class__ = cls          # a program's own, with what it adds
            return it

        def __init__(self, *_: Any, **__: Any) -> None:
            """It was made already."""

    return Loop


def say(line: str) -> None:
    """On stderr: the program's own output is the program's."""
    write_line(line, sys.stderr)


def stand_in(make: Maker, kind: type) -> types.ModuleType:
    """What `import uvloop` gives: its loops are ours too."""
    made = types.ModuleType("uvloop", "Underpass in uvloop's place.")
    made.__spec__ = ModuleSpec("uvloop", None)
    module: Any = made

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = staticmethod(make)

    def run(main: Any, *, loop_factory: Maker = make, debug: bool | None = None, **_: Any) -> Any:
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            return runner.run(main)

    module.new_event_loop, module.Loop = make, kind
    module.EventLoopPolicy = EventLoopPolicy
    module.install = lambda: asyncio.set_event_loop_policy(EventLoopPolicy())
    module.run = run
    module.__version__ = "0.0+underpass"
    return made


def program_of(words: Sequence[str]) -> Callable[[], Any]:
    """What runs the command line. Raises ValueError for what is no Python program."""
    first, *rest = words
    if Path(first).name.startswith("python"):
        if rest[:1] == ["-m"] and len(rest) > 1:
            return lambda: as_main(rest[1:], lambda: runpy.run_module(rest[1], None, "__main__", True))
        if rest and not rest[0].startswith("-"):
            return program_of(rest)
        raise ValueError(f"{' '.join(words)}: python is to be followed by a script, or by -m and a module")
    if first.endswith(".py") and is_readable(first):
        return lambda: as_main(words, lambda: runpy.run_path(first, None, "__main__"))
    for point in entry_points(group="console_scripts", name=Path(first).name):
        return installed(words, point.load())
    where = shutil.which(first)
    if where is not None and "python" in Path(where).read_bytes()[:100].decode(errors="replace"):
        return lambda: as_main([where, *rest], lambda: runpy.run_path(where, None, "__main__"))
    raise ValueError(f"{first} is no script, module or command of this Python ({sys.executable})")


def is_readable(script: str) -> bool:
    """Whether it is there. Raises ValueError where it is not this user's to read."""
    try:
        Path(script).open("rb").close()
    except PermissionError:
        why = f"{script} cannot be read by user {os.geteuid()}: it and its folders must be open to that user"
        raise ValueError(why) from None
    except OSError:
        return False
    return True


def run_program(program: Callable[[], Any]) -> int:
    """Run it to its end in this process; its status, as Python would give it."""
    try:
        program()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:
        traceback.print_exc()           # the program's own error, as Python would show it
        return 1
    return 0


def run_words(words: Sequence[str]) -> int:
    """The same of a command line. What cannot be run, though the supervisor could, is said in a line."""
    try:
        program = program_of(words)
    except ValueError as error:
        print(f"underpass: {error}", file=sys.stderr)
        return 1
    return run_program(program)


def installed(words: Sequence[str], command: Callable[[], Any]) -> Callable[[], Any]:
    """What runs a command that a package has installed."""
    return lambda: as_main(words, lambda: sys.exit(command()))


def as_main(words: Sequence[str], run: Callable[[], Any]) -> None:
    """Run with these as the process's arguments, the script's folder, or this one, first on the path."""
    sys.argv = list(words)
    script = Path(words[0])
    sys.path.insert(0, str(script.parent.resolve()) if script.suffix == ".py" else "")
    run()
