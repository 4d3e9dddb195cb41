"""A pull request is data: whatever it carries, nothing of it runs and nothing outside of it is read.

Each branch holds something that a tool which checks out, imports, builds or follows would execute or read.
The program runs in a clone of the base, as the workflows run it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.gitops.conftest import Repository


def script(canary: Path) -> str:
    return f"#!/bin/sh\ntouch {canary}\n"


def python(canary: Path) -> str:
    return f"import pathlib; pathlib.Path({str(canary)!r}).touch()\n"


def hostile_files(canary: Path) -> dict[str, str]:
    """What runs where somebody checks out, imports, tests, builds or makes."""
    module = python(canary)
    return {
        "conftest.py": module,
        "sitecustomize.py": module,
        "usercustomize.py": module,
        "evil.pth": f"import pathlib; pathlib.Path({str(canary)!r}).touch()\n",
        "setup.py": module,
        "yaml.py": module,
        "reconciler/__init__.py": module,
        "reconciler/__main__.py": module,
        "desired/conftest.py": module,
        "pyproject.toml": '[project]\nname = "evil"\n[project.entry-points.reconciler]\nx = "evil"\n',
        "Makefile": f"reconcile:\n\ttouch {canary}\n",
        "tools/flow.sh": script(canary),
        ".githooks/post-checkout": script(canary),
        ".githooks/pre-commit": script(canary),
        ".gitattributes": "* filter=evil diff=evil merge=evil\n",
        ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = "ext::sh -c touch% {canary}"\n',
        ".gitconfig": f"[core]\n\tfsmonitor = touch {canary}\n",
    }


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def proposed(repository: Repository, rows: Iterable[tuple[str, str, str]]) -> str:
    """A commit on top of main with more rows (mode, path, content), made of objects: no filter is asked."""
    index = {**CLEAN, "GIT_INDEX_FILE": str(repository.root / ".git/hostile-index")}

    def git(*words: str, data: str | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *words],
            cwd=repository.root,
            env=index,
            input=data,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("read-tree", "main")
    for mode, path, content in rows:
        submodule = mode == "160000"
        oid = "1" * 40 if submodule else git("hash-object", "-w", "--no-filters", "--stdin", data=content)
        git("update-index", "--add", "--cacheinfo", f"{mode},{oid},{path}")
    return git("commit-tree", git("write-tree"), "-p", "main", "-m", "Be hostile")


def test_nothing_of_a_pull_request_runs(published: Repository, canary: Path) -> None:
    rows = [
        ("100755" if text.startswith("#!") else "100644", path, text)
        for path, text in hostile_files(canary).items()
    ]
    commit = proposed(published, rows)
    for setting in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv"):
        published.git("config", setting, f"touch {canary}")
    published.git("config", "diff.external", f"touch {canary}")
    published.git("config", "core.hooksPath", str(hooks(canary)))
    published.git("config", "core.fsmonitor", f"touch {canary}")

    planned = published.run("plan", "--base", "main", "--ref", commit, "--output", "json")
    validated = published.run("validate", "--ref", commit)

    assert (planned.code, validated.code) == (0, 0), planned.err + validated.err
    assert not canary.exists()


def hooks(canary: Path) -> Path:
    """A directory of hooks that leave the canary, as a careless user may have set one up."""
    place = canary.parent / "hooks"
    place.mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (place / name).write_text(script(canary))
        (place / name).chmod(0o755)
    return place


@pytest.mark.parametrize(
    ("mode", "target"),
    [
        ("120000", "/etc/passwd"),
        ("120000", "../../outside.yaml"),
        ("120000", "human.yaml"),
        ("100755", "#!/bin/sh\n"),
    ],
    ids=["absolute", "above", "beside", "executable"],
)
def test_a_link_or_a_program_among_the_documents_is_refused(
    published: Repository, mode: str, target: str
) -> None:
    secret = published.root.parent / "outside.yaml"
    secret.write_text("apiVersion: canary-of-a-secret\n")
    commit = proposed(published, [(mode, "desired/catalogs/evil.yaml", target)])

    ran = published.run("plan", "--base", "main", "--ref", commit)

    assert (ran.code, ran.error) == (3, "E_TREE_MODE")
    assert "canary-of-a-secret" not in ran.out + ran.err
    assert "root:" not in ran.out + ran.err


def test_a_submodule_among_the_documents_is_refused(published: Repository) -> None:
    commit = proposed(published, [("160000", "desired/catalogs/evil", "")])

    ran = published.run("plan", "--base", "main", "--ref", commit)

    assert (ran.code, ran.error) == (3, "E_TREE_MODE")


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("--upload-pack=touch canary", "E_REF_OPTION"),
        ("--output=canary", "E_REF_OPTION"),
        ("-c", "E_REF_OPTION"),
        ("ext::sh -c touch% canary", "E_REF_CHARS"),
        ("main;touch canary", "E_REF_CHARS"),
        ("$(touch canary)", "E_REF_CHARS"),
        ("main\nmain", "E_REF_CHARS"),
    ],
)
@pytest.mark.parametrize("option", ["--ref", "--base"])
def test_a_ref_is_never_an_option_or_a_command(
    published: Repository, option: str, ref: str, code: str
) -> None:
    ran = published.run("plan", f"{option}={ref}")

    assert (ran.code, ran.error) == (3, code)
    assert not (published.root / "canary").exists()
