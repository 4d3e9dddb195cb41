"""A repository whose serving store is filled and backed up, and the command line run in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli_byhand.conftest import BUILD_OF, M110, Desk, desk
from tests.integration.command_line import CLEAN, Ran

__all__ = ["desk"]

MARK = ".reconciler/restore.json"


@dataclass(frozen=True, slots=True)
class Vault:
    """A repository with the store `serving` in var/serving, and an archive in var/backup."""

    desk: Desk

    @property
    def root(self) -> Path:
        return self.desk.root

    @property
    def store(self) -> Path:
        return self.root / "var/serving"

    @property
    def archive(self) -> Path:
        return self.root / "var/backup"

    def run(self, *words: str) -> Ran:
        return self.desk.run(*words)

    def ok(self, *words: str) -> Ran:
        return self.desk.ok(*words)

    def commit(self, message: str) -> None:
        """Commit everything but the stores."""
        for words in (("add", "-A"), ("commit", "-q", "-m", message)):
            subprocess.run(["git", *words], cwd=self.root, env=CLEAN, check=True)

    def killed(self, failpoint: str, *words: str) -> None:
        """Run a command in a process of its own that is killed there."""
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.root,
            env={**CLEAN, "SOURCE_DATE_EPOCH": "1714592400", "RECONCILER_FAILPOINTS": f"{failpoint}=kill"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == -9, f"{failpoint}: {done.returncode}\n{done.stderr}"

    def create(self, *words: str) -> Ran:
        return self.run("backup", "create", "--store", "serving", "--to", "var/backup", *words)

    def backup(self, *words: str) -> dict[str, Any]:
        """Make a backup; its answer."""
        ran = self.create("--output", "json", *words)
        assert ran.code == 0, ran.err
        return ran.document

    def verify(self, *words: str) -> Ran:
        return self.run("backup", "verify", "--store", "serving", "--from", "var/backup", *words)

    def restore(self, *words: str, into: str = "var/back") -> Ran:
        where = ("--store", "serving", "--from", "var/backup", "--into", f"root=file:{into}")
        return self.run("backup", "restore", *where, *words)

    def backups(self) -> list[str]:
        return sorted(path.name[18:20] for path in (self.archive / "backups/serving").glob("*"))

    def objects(self) -> list[Path]:
        return sorted(path for path in (self.archive / "objects").rglob("*") if path.is_file())


def files(root: Path) -> dict[str, bytes]:
    """Every file of a store by path, but not its lock and not the mark of a restore."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and str(path.relative_to(root)) not in {MARK, ".reconciler/lock"}
    }


def parts(vault: Vault, number: int) -> dict[str, tuple[str, str]]:
    """Each part of a backup: how it comes back, and its digest."""
    found = {}
    backup = json.loads((vault.archive / f"backups/serving/{number:020d}.json").read_bytes())
    index = json.loads(kept(vault, backup["index"]).read_bytes())
    for _, digest, _, _ in index["groups"]:
        for path, _, durability, of, _ in json.loads(kept(vault, digest).read_bytes())["parts"]:
            found[path] = (durability, of)
    return found


def kept(vault: Vault, digest: str) -> Path:
    """The file of an object."""
    name = digest.removeprefix("sha256:")
    return vault.archive / "objects" / name[:2] / name


@pytest.fixture
def vault(desk: Desk) -> Vault:
    """This project's desired state, applied: four datasets, three listed, latest set."""
    desk.repository()
    build = f"examples/builds/{BUILD_OF[M110]}"
    desk.ok("dataset", "publish", M110, "--source-root", build, "--store-root", "var/serving")
    desk.ok("apply", "--yes")
    return Vault(desk)
