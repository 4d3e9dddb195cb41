"""A real repository with this project's own examples, and the real command line run in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN, Ran, copy_project


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository whose desired state the tests edit, commit and apply."""

    root: Path

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=CLEAN, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new))

    def run(self, *words: str, **environment: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.root,
            env={**CLEAN, **environment},
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        # An old git is advised against once a run; that is about the machine, not about the command.
        lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: git version")]
        return Ran(done.returncode, done.stdout, "\n".join(lines))

    def ok(self, *words: str, **environment: str) -> Ran:
        ran = self.run(*words, **environment)
        assert ran.code == 0, f"{words}: exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def store(self, root: str = "var/serving") -> dict[str, bytes]:
        """Every file of a store by path, but not the lock, which says who holds it."""
        top = self.root / root
        return {
            str(path.relative_to(top)): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if path.is_file() and path.name != "lock"
        }

    def catalog(self) -> list[str]:
        """The ids that the live catalog lists."""
        entries = json.loads((self.root / "var/serving/catalog.json").read_bytes())["datasets"]
        return ["/".join(e["dataset"][part] for part in ("release", "species", "assembly")) for e in entries]


def make_repository(base: Path) -> Repository:
    """This project's desired state, examples and governance files, committed."""
    root = base / "repository"
    root.mkdir()
    copy_project(root, "desired", "examples/builds", "ops")
    (root / ".gitignore").write_text("/var/\n/plan.json\n")
    repo = Repository(root)
    repo.git("init", "-q", "-b", "main")
    repo.commit("Declare the examples")
    return repo


WAIVER = """apiVersion: reconciler/v1
kind: Exception
type: waiver
rule: latest-monotonic
subject: serving/alias/latest
owner: Ada
reason: these tests move it
expires: 2099-01-01
"""


def let_latest_go_back(root: Path) -> None:
    """An exception in the desired state of a repository: latest may name less than the highest release."""
    waiver = root / "desired/exceptions/latest.yaml"
    waiver.parent.mkdir()
    waiver.write_text(WAIVER)


def make_published(repo: Repository) -> Repository:
    """The repository after the one dataset without a source was published by hand."""
    repo.ok(
        *("dataset", "publish", "--source-root", "examples/builds/mouse-110", "--store-root", "var/serving"),
        *("--release", "110", "--species", "mus_musculus", "--assembly", "GRCm39"),
        SOURCE_DATE_EPOCH="1760000000",
    )
    return repo


def make_applied(repo: Repository) -> Repository:
    """The repository after its first apply."""
    repo.ok("apply", "--yes")
    return repo


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """The repository before anything was done."""
    return make_repository(tmp_path)


@pytest.fixture
def published(repository: Repository) -> Repository:
    """The repository after a publish by hand."""
    return make_published(repository)


@pytest.fixture
def applied(published: Repository) -> Repository:
    """The repository after its first apply."""
    return make_applied(published)
