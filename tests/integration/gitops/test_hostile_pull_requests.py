"""A pull request is data: whatever it carries, nothing of it runs and nothing outside of it is read.

Each branch holds something that a tool which checks out, imports, builds or follows would execute or read. The
program runs in a clone of the base, as the workflows run it, with the canary's place in no variable of its own.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.integration.gitops.conftest import Repository

CATALOG = "desired/catalogs/human.yaml"


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
        "pyproject.toml": '[project]\nname = "evil"\nversion = "1"\n[project.entry-points.reconciler]\nx = "evil"\n',
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


def proposed(repository: Repository, files: dict[str, str]) -> str:
    """A branch with these files; the checkout is the base again afterwards."""
    repository.git("checkout", "-q", "-b", "hostile")
    for path, text in files.items():
        place = repository.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        if text.startswith("#!"):
            place.chmod(place.stat().st_mode | stat.S_IXUSR)
    commit = repository.commit("Be hostile")
    repository.git("checkout", "-q", "main")
    return commit


def test_nothing_of_a_pull_request_runs(published: Repository, canary: Path) -> None:
    for setting in ("clean", "smudge", "process"):
        published.git("config", f"filter.evil.{setting}", f"touch {canary}.{setting}")
    published.git("config", "diff.evil.textconv", f"touch {canary}.textconv")
    published.git("config", "diff.external", f"touch {canary}.external")
    published.git("config", "core.fsmonitor", f"touch {canary}.fsmonitor")
    published.git("checkout", "-q", "-b", "hostile")
    for path in [path for path in canary.parent.iterdir() if path.name.startswith("canary")]:
        path.unlink()
    published.git("-c", "core.fsmonitor=false", "checkout", "-q", "main")
    tree = hostile_files(canary)
    commit = plumbed(published, tree)
    for path in [path for path in canary.parent.iterdir() if path.name.startswith("canary")]:
        path.unlink()

    planned = published.run("plan", "--base", "main", "--ref", commit, "--output", "json")
    published.run("validate", "--ref", commit)
    published.run("drift", "--ref", commit)

    assert planned.code == 0, planned.err
    assert [path.name for path in canary.parent.iterdir() if path.name.startswith("canary")] == []


def plumbed(repository: Repository, files: dict[str, str]) -> str:
    """A commit on top of main with these files, made of objects: no filter and no hook is asked."""
    import subprocess

    from tests.integration.command_line import CLEAN

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
    for path, text in files.items():
        oid = git("hash-object", "-w", "--no-filters", "--stdin", data=text)
        mode = "100755" if text.startswith("#!") else "100644"
        git("update-index", "--add", "--cacheinfo", f"{mode},{oid},{path}")
    return git("commit-tree", git("write-tree"), "-p", "main", "-m", "Be hostile")


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
    commit = plumbed_row(published, mode, target, "desired/catalogs/evil.yaml")

    ran = published.run("plan", "--base", "main", "--ref", commit)

    assert (ran.code, ran.error) == (3, "E_TREE_MODE")
    assert "canary-of-a-secret" not in ran.out + ran.err
    assert "root:" not in ran.out + ran.err


def test_a_submodule_among_the_documents_is_refused(published: Repository) -> None:
    commit = plumbed_row(published, "160000", "", "desired/catalogs/evil")

    ran = published.run("plan", "--base", "main", "--ref", commit)

    assert (ran.code, ran.error) == (3, "E_TREE_MODE")


def plumbed_row(repository: Repository, mode: str, content: str, path: str) -> str:
    """A commit on top of main with one more row in its tree."""
    import subprocess

    from tests.integration.command_line import CLEAN

    index = {**CLEAN, "GIT_INDEX_FILE": str(repository.root / ".git/hostile-index")}

    def git(*words: str, data: str | None = None) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=repository.root,
            env=index,
            input=data,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("read-tree", "main")
    oid = "1" * 40 if mode == "160000" else git("hash-object", "-w", "--stdin", data=content)
    git("update-index", "--add", "--cacheinfo", f"{mode},{oid},{path}")
    return git("commit-tree", git("write-tree"), "-p", "main", "-m", "Be hostile")


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
