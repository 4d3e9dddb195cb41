"""Every block of the README is run as a reader would run it, and compared with what it shows."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.documents import ROOT, Command, blocks, commands, matches

DOCUMENT, *_ = blocks("README.md", "yaml")
WALK, MAIN_JOB = blocks("README.md", "console")

IDENTITY = {
    "GIT_AUTHOR_NAME": "A. Reader",
    "GIT_AUTHOR_EMAIL": "reader@example.org",
    "GIT_COMMITTER_NAME": "A. Reader",
    "GIT_COMMITTER_EMAIL": "reader@example.org",
    "GIT_AUTHOR_DATE": "2024-05-02T12:00:00Z",
    "GIT_COMMITTER_DATE": "2024-05-02T12:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def environment(repository: Path) -> dict[str, str]:
    """A clean environment in which `reconciler` is this project's command."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    path = f"{repository / '.venv' / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, **IDENTITY, "PATH": path, "PYTHONPATH": str(ROOT)}


def run(repository: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command),
        cwd=repository,
        env=environment(repository),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def commit(repository: Path) -> None:
    (repository / ".gitignore").write_text("/.venv/\n/var/\n/plan.json\n", encoding="utf-8")
    for command in ("git init --quiet", "git add --all", "git commit --quiet --message wish"):
        assert run(repository, command).returncode == 0


def repository_with(place: Path, *parts: str) -> Path:
    """A folder with copies of some parts of this repository, and a `reconciler` to call."""
    for part in parts:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, place / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (place / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place / part)
    script = place / ".venv" / "bin" / "reconciler"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m reconciler "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return place


def check(repository: Path, command: Command) -> None:
    """Run one command and compare what it prints."""
    result = run(repository, command.line)
    shown = result.stdout.strip("\n")
    assert matches(command.output, shown), (
        f"'{command.line}' does not print what the README shows, but:\n{shown}\n{result.stderr}"
    )
    assert result.returncode == 0


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """The repository of the first screen: its one catalog, this repository's stores and build roots."""
    place = repository_with(tmp_path, "desired/stores.yaml", "examples/builds")
    catalog = place / DOCUMENT.text.splitlines()[0].removeprefix("# ")
    catalog.parent.mkdir()
    catalog.write_text(DOCUMENT.text, encoding="utf-8")
    commit(place)
    return place


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of what `make reconcile` needs."""
    place = repository_with(tmp_path, "desired", "examples", "ops", "tools")
    commit(place)
    return place


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_first_screen_prints_what_is_shown(reader: Path) -> None:
    for command in commands(WALK):
        check(reader, command)


def test_main_job_prints_what_is_shown(checkout: Path) -> None:
    command, _, shown = MAIN_JOB.text.partition("\n")
    assert command == "$ make reconcile"
    result = run(checkout, "sh tools/reconcile.sh")
    printed = result.stdout.strip("\n")
    assert matches(shown.strip("\n"), printed), f"it prints:\n{printed}\n{result.stderr}"
    assert result.returncode == 0


def test_second_main_job_has_nothing_to_do_and_changes_no_byte(checkout: Path) -> None:
    assert run(checkout, "sh tools/reconcile.sh").returncode == 0
    before = tree(checkout / "var")
    again = run(checkout, "sh tools/reconcile.sh")
    assert again.returncode == 0
    assert again.stdout.count("nothing to do") == 4
    assert tree(checkout / "var") == before


def test_every_store_of_this_repository_is_planned_for_and_comes_back_in_a_drill(checkout: Path) -> None:
    assert run(checkout, "sh tools/reconcile.sh").returncode == 0
    for store in ("serving", "registry"):
        assert run(checkout, f"reconciler backup create --store {store} --verify").returncode == 0
    planned = run(checkout, "reconciler recovery plan")
    assert (planned.returncode, "missing:" in planned.stdout) == (0, False)
    drilled = run(checkout, "reconciler recovery drill")
    assert (drilled.returncode, drilled.stdout.count(" 0 failed")) == (0, 2)


def test_main_job_outside_a_checkout_says_what_is_missing(tmp_path: Path) -> None:
    place = repository_with(tmp_path, "desired", "tools")
    result = run(place, "env GIT_CEILING_DIRECTORIES=/ sh tools/reconcile.sh")
    assert (result.returncode, result.stdout) == (1, "")
    assert "is not a git checkout" in result.stderr


def test_every_make_target_of_the_pages_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = {
        command.line.split()[1]
        for name in ("README.md", "CONTRIBUTING.md")
        for block in blocks(name, "console")
        for command in commands(block)
        if command.line.startswith("make ")
    }
    assert {target for target in shown if f"\n{target}:" not in makefile} == set()
