"""The source checks of `make check`: what each must refuse, and what it must let pass."""

from pathlib import Path

import pytest
from tools import check_imports, check_modules, check_size


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An empty package with the folders of the packet's way."""
    folder = tmp_path / "underpass"
    for name in ("wire", "tcp", "stack", "linux", "testing"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["seq.py", "seq.pyx", "seq.pxd", "seq.pyi"])
@pytest.mark.parametrize(
    "text",
    [
        "from underpass.tcp.tcb cimport Tcb\n",
        "from underpass.tcp.tcb import STATES\n",
        "from underpass.tcp import tcb\n",
        "from underpass import tcp\n",
        "import underpass.tcp.tcb\n",
        "cimport underpass.tcp.tcb\n",
        "import sys, underpass.tcp.tcb as block\n",
        "from ..tcp import tcb\n",
        "from ..tcp.tcb cimport (\n    Tcb,\n)\n",
        "def late():\n    from underpass.tcp.tcb import STATES\n",
        "from underpass.linux import netlink\n",
        "from underpass.testing import clock\n",
    ],
)
def test_an_import_down_the_way_is_refused(package: Path, capsys, name: str, text: str) -> None:
    (package / "wire" / name).write_text(f'"""Sequence\nnumbers."""\n{text}')
    assert check_imports.main(package) == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert f"wire/{name}:{4 if text.startswith('def') else 3}: " in said
    assert "wire may import no other layer" in said


@pytest.mark.parametrize(
    "text",
    [
        "from underpass.wire.seq cimport seq_t\n",
        "from ..wire import seq\n",
        "from . import tcb\n",
        "from libc.stdint cimport uint32_t\n",
        '"""Read it with\nfrom underpass.stack import stack\n"""\n',
        "# from underpass.stack import stack\n",
        'usage = "import underpass.stack"\n',
    ],
)
def test_an_import_up_the_way_is_allowed(package: Path, text: str) -> None:
    (package / "tcp" / "receive.pyx").write_text(text)
    assert check_imports.main(package) == 0


def test_the_test_tools_import_what_they_like(package: Path) -> None:
    (package / "testing" / "network.py").write_text("from underpass.stack import stack\nimport underpass\n")
    assert check_imports.main(package) == 0


def test_a_new_layer_needs_a_rule(package: Path, capsys) -> None:
    (package / "magic").mkdir()
    (package / "magic" / "wand.py").write_text("")
    assert check_imports.main(package) == 1
    assert "layer 'magic' has no rule" in capsys.readouterr().out


def test_the_package_keeps_the_order() -> None:
    assert check_imports.main() == 0


def test_a_path_layer_never_imports_what_stands_off_the_path() -> None:
    off = {"linux", "shield", "observe", "testing", "apps", "cli"}
    assert all(not check_imports.MAY[layer] & off for layer in check_imports.PATH)


def python_function(lines: int) -> str:
    return "def long(\n    one,\n):\n" + "    pass\n" * (lines - 3)


def cython_function(lines: int) -> str:
    head = "cdef void long(int one,\n               int two) noexcept nogil:\n"
    return head + "    pass\n\n" * (lines // 2 - 1)


def c_function(lines: int) -> str:
    head = "static __always_inline int long_one(int one,\n\tint two)\n{\n"
    return head + "\tone++;\n" * (lines - 4) + "}\n"


@pytest.mark.parametrize(
    ("name", "make"), [("a.py", python_function), ("a.pyx", cython_function), ("a.bpf.c", c_function)]
)
def test_a_function_has_at_most_60_lines(tmp_path: Path, capsys, name: str, make) -> None:
    after = "\nint x;\n" if name.endswith(".c") else "\nx = 1\n"
    (tmp_path / name).write_text(make(60) + after)
    assert check_size.main([tmp_path]) == 0
    (tmp_path / name).write_text(make(64) + after)
    assert check_size.main([tmp_path]) == 1
    assert f"{name}:1: long" in capsys.readouterr().out


def test_a_class_of_many_short_methods_is_no_long_function(tmp_path: Path) -> None:
    methods = "".join(f"    cdef int f{n}(self) noexcept:\n        return {n}\n\n" for n in range(30))
    (tmp_path / "a.pyx").write_text("cdef class Wide(Base):\n" + methods)
    assert check_size.main([tmp_path]) == 0


def test_declarations_do_not_add_up_to_a_function(tmp_path: Path) -> None:
    (tmp_path / "a.pxd").write_text("cdef int f(int one,\n           int two) noexcept nogil\n" * 40)
    assert check_size.main([tmp_path]) == 0


def test_a_file_has_at_most_800_lines(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 800)
    assert check_size.main([tmp_path]) == 0
    (tmp_path / "a.py").write_text("x = 1\n" * 801)
    assert check_size.main([tmp_path]) == 1
    assert "a.py: 801 lines" in capsys.readouterr().out


def test_modules_have_names_of_their_own(package: Path, capsys) -> None:
    for name in ("wire/segment.pyx", "tcp/segment.pyx"):
        (package / name).write_text("")
    assert check_modules.main(package) == 1
    assert "the build needs another" in capsys.readouterr().out
    (package / "tcp/segment.pyx").rename(package / "tcp/block.pyx")
    assert check_modules.main(package) == 0


@pytest.mark.parametrize("text", ["def f():", "cdef class Tcb:", "class Tcb:", "NAMES = ()", "cpdef f():"])
def test_a_module_that_python_sees_has_a_stub(package: Path, capsys, text: str) -> None:
    (package / "tcp/tcb.pyx").write_text(f"{text}\n")
    assert check_modules.main(package) == 1
    assert "no tcb.pyi beside it" in capsys.readouterr().out
    (package / "tcp/tcb.pyi").write_text("")
    assert check_modules.main(package) == 0


def test_a_module_that_python_does_not_see_needs_no_stub(package: Path) -> None:
    (package / "tcp/demux.pyx").write_text("cdef int find(int x) noexcept nogil:\n    x = 1\n    return x\n")
    assert check_modules.main(package) == 0


def test_a_stub_has_a_module(package: Path, capsys) -> None:
    (package / "tcp/tcb.pyi").write_text("")
    assert check_modules.main(package) == 1
    assert "a type stub without a module" in capsys.readouterr().out
