"""The build's own tools: what Cython may say, which files go into the wheel, what is installed."""

import importlib.resources
from pathlib import Path

import pytest
from tools import cythonize, requirements, sources

PACKAGE = sources.PACKAGE


def translate(tmp_path: Path, text: str) -> tuple[int, Path]:
    (tmp_path / "module.pyx").write_text(text)
    output = tmp_path / "module.c"
    return cythonize.main(str(tmp_path / "module.pyx"), str(output), str(tmp_path)), output


def test_clean_cython_is_translated_and_names_its_dependencies(tmp_path: Path) -> None:
    status, output = translate(tmp_path, "cdef int twice(int x) noexcept nogil:\n    return 2 * x\n")
    assert status == 0
    assert output.exists()
    assert "module.pyx" in Path(f"{output}.dep").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cdef void f() nogil:\n    pass\ncdef void g() noexcept nogil:\n    f()\n", "performance hint"),
        ("cdef int f() noexcept nogil:\n    return 1\n    return 2\n", "Unreachable code"),
        ("cdef int f() noexcept nogil:\n    cdef int spare\n    return 1\n", "Unused"),
        ("cdef int f() noexcept nogil:\n    return object\n", "Error"),
    ],
)
def test_what_costs_time_or_hides_a_fault_fails_the_build(
    tmp_path: Path, capfd, text: str, complaint: str
) -> None:
    status, output = translate(tmp_path, text)
    assert status != 0
    assert complaint.lower() in capfd.readouterr().err.lower()
    assert not output.exists()


def test_a_module_called_like_one_of_pythons_own_does_not_disturb_cython(tmp_path: Path, monkeypatch) -> None:
    """Extension modules of the package lie in the folder where Cython is run."""
    (tmp_path / "inspect.py").write_text("raise ImportError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    assert translate(tmp_path, "cdef int one() noexcept nogil:\n    return 1\n")[0] == 0


def test_a_variable_set_through_its_address_is_no_complaint(tmp_path: Path) -> None:
    text = (
        "from libc.string cimport memcpy\n"
        "cdef int f(const char *at) noexcept nogil:\n    cdef int x\n    memcpy(&x, at, 4)\n    return x\n"
    )
    assert translate(tmp_path, text)[0] == 0


def test_every_module_and_header_is_on_the_list() -> None:
    modules = {f"underpass/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.pyx")}
    assert set(sources.sources("pyx")) == modules
    data = sources.sources("data")
    assert {"underpass/py.typed", "underpass/__init__.py", "underpass/tcp/api.pxd"} <= set(data)


def test_requirements_come_from_pyproject(tmp_path: Path) -> None:
    assert any(row.startswith("Cython") for row in requirements.requirements("build"))
    assert any(row.startswith("pytest") for row in requirements.requirements("dev"))
    with pytest.raises(KeyError):
        requirements.requirements("nonsense")


def test_what_native_applications_and_type_checkers_need_is_installed() -> None:
    package = importlib.resources.files("underpass")
    assert (package / "py.typed").is_file()
    assert (package / "tcp" / "api.pxd").is_file()
    assert (package / "stack" / "stack.pxd").is_file()
