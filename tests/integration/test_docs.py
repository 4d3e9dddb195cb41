"""The pages in docs/ are true: examples are valid, references are complete, links lead somewhere."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import errors
from reconciler.cli import build_parser, main
from reconciler.errors import Exit
from reconciler.policy import RULES
from tests.integration.documents import ROOT, blocks, links, page, pages, rows

SOURCES = [
    path
    for path in sorted((ROOT / "reconciler").rglob("*"))
    if path.suffix in {".py", ".json"} and "testing" not in path.relative_to(ROOT / "reconciler").parts
]


def commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that can be run, with its parser."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    if not nested:
        yield name, parser
    for action in nested:
        for word, child in action.choices.items():
            yield from commands(child, f"{name} {word}".strip())


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a command, and its positional arguments in upper case."""
    found = set()
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:  # noqa: SLF001
            continue
        long = [text for text in action.option_strings if text.startswith("--")]
        found.add(long[0] if long else (str(action.metavar) if action.metavar else action.dest.upper()))
    return found


def documented(command: str) -> set[str]:
    return {name for row in rows("docs/cli.md", f"`{command}`") for name in re.findall(r"`([^`]+)`", row[0])}


COMMANDS = dict(commands(build_parser()))


def test_the_reference_has_every_command_and_no_other() -> None:
    headings = re.findall(r"^### `(.+)`$", page("docs/cli.md"), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_reference_has_every_option_of_a_command_and_no_other(command: str) -> None:
    assert documented(command) == options(COMMANDS[command])


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_shows_an_example_in_its_help(command: str) -> None:
    group = command.split(maxsplit=1)[0]
    assert f"reconciler {command}" in COMMANDS[command].format_help() or (
        f"reconciler {command}" in build_parser(group).format_help()
    )


def test_the_reference_has_every_exit_code_and_no_other() -> None:
    assert [int(row[0]) for row in rows("docs/cli.md", "Exit codes")] == [code.value for code in Exit]


def test_the_reference_names_the_schema_of_every_document() -> None:
    stated = {
        match
        for path in SOURCES
        for match in re.findall(r'"(reconciler/[a-z-]+/v[0-9]+)"', path.read_text("utf-8"))
    }
    text = "".join(page(name) for name in pages() if name.startswith("docs/"))
    assert sorted(schema for schema in stated if f"`{schema}`" not in text) == []


def error_table() -> dict[str, set[int]]:
    """Each code of docs/errors.md with its exit codes."""
    found = re.findall(r"^\| `(E_[A-Z0-9_]+)` \| ([0-9, ]+) \|", page("docs/errors.md"), re.MULTILINE)
    return {code: {int(number) for number in exits.split(",")} for code, exits in found}


def raised() -> Iterator[tuple[str, int]]:
    """Each code that is raised with its class, and the exit code of that class."""
    classes = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ReconcilerError)
    }
    for path in SOURCES:
        if path.suffix == ".py":
            for code, name in _raised_in(ast.parse(path.read_bytes())):
                if name in classes:
                    yield code, classes[name].exit_code.value


def _raised_in(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="of"),
                args=[ast.Constant(value=str(code)), *_],
            ):
                yield code, name


def test_the_table_of_errors_has_every_code_and_no_other() -> None:
    stated = {match for path in SOURCES for match in re.findall(r'"(E_[A-Z0-9_]+)"', path.read_text("utf-8"))}
    assert sorted(error_table()) == sorted(stated)


def test_the_table_of_errors_has_the_exit_code_of_every_class_that_carries_a_code() -> None:
    table = error_table()
    assert sorted({(code, number) for code, number in raised() if number not in table[code]}) == []


def test_the_table_of_rules_has_every_rule_in_order() -> None:
    table = rows("docs/policy.md", "Rules")
    assert [row[0].strip("`") for row in table] == list(RULES)


def test_the_examples_of_desired_state_are_valid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for block in (*blocks("docs/desired-state.md", "yaml"), *blocks("docs/governing.md", "yaml")):
        name = block.text.splitlines()[0].removeprefix("# ")
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert (main(["validate", "--worktree", "--repo", str(tmp_path)]), capfd.readouterr().err) == (0, "")


@pytest.mark.parametrize("name", pages())
def test_every_link_leads_to_a_file_of_the_repository(name: str) -> None:
    local = [target.partition("#")[0] for target in links(name) if "://" not in target]
    missing = [target for target in local if target and not ((ROOT / name).parent / target).exists()]
    assert missing == []


def test_the_example_of_a_contract_test_is_the_one_that_runs() -> None:
    (example,) = blocks("CONTRIBUTING.md", "python")
    code = textwrap.dedent(example.text)
    runs = page("tests/contract/test_memory.py")
    assert [line for line in code.splitlines() if line not in runs.splitlines()] == []
