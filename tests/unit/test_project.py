"""The rules of the project that a linter does not know; CONTRIBUTING.md states them for people."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from reconciler.cli import COMMANDS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "reconciler").rglob("*.py"))
EVERYTHING = sorted(
    path
    for folder in ("reconciler", "tests", "benchmarks", "examples", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
HEAVY = ("git", "deepdiff", "jsonschema", "jsonschema_rs", "msgspec", "yaml", "sqlite3", "tempfile")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a module and their lengths in lines, docstrings included."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_import_no_heavy_library(flag: str) -> None:
    code = (
        "import sys\n"
        "from reconciler.cli import main\n"
        "try:\n"
        f"    main([{flag!r}])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('loaded:', *sorted(sys.modules))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.rsplit("loaded: ", 1)[1].split())
    assert loaded.isdisjoint(HEAVY)


def test_no_command_is_imported_for_the_list_of_commands() -> None:
    code = "import sys, reconciler.cli as c; c.build_parser('').format_help(); print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()).isdisjoint(module for module, _ in COMMANDS.values())


def test_every_module_is_shorter_than_500_lines() -> None:
    lengths = {relative(path): len(path.read_bytes().splitlines()) for path in EVERYTHING}
    assert {path: length for path, length in lengths.items() if length >= 500} == {}


def test_every_function_has_at_most_50_lines() -> None:
    long = [
        f"{relative(path)}:{name} has {length} lines"
        for path in EVERYTHING
        for name, length in functions(path)
        if length > 50
    ]
    assert long == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    said = re.compile(r"manager|helper|utils?\b|common|misc")
    assert [relative(path) for path in EVERYTHING if said.search(path.stem)] == []


def test_every_module_of_the_program_says_what_it_is() -> None:
    assert [relative(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_bytes()))] == []


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    assert [relative(path) for path in EVERYTHING if mark.search(path.read_text(encoding="utf-8"))] == []


def test_every_dependency_is_bounded_below() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    bounded = re.compile(r"[A-Za-z0-9_-]+(?:\[[a-z]+\])?(>=[0-9][0-9.]*|==[0-9][0-9.]*\.\*)")
    assert [name for name in declared if not bounded.fullmatch(name)] == []


def test_every_schema_that_is_shipped_is_declared_as_package_data() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "reconciler"
    shipped = {
        path
        for pattern in data["package-data"]["reconciler"]
        for path in package.glob(pattern)
        if path.is_file()
    }
    others = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and "__pycache__" not in path.parts
    }
    assert {relative(path) for path in others} == {relative(path) for path in shipped}
