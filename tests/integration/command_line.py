"""What every test of the command line shares: a clean environment for it and for git, and what it did."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
CLEAN = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(PROJECT),
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C.UTF-8",
}


def copy_project(root: Path, *parts: str) -> None:
    """Copy parts of this project, and of its desired state what is about the serving store alone."""
    for part in parts:
        shutil.copytree(PROJECT / part, root / part)
    shutil.rmtree(root / "desired/datasets")
    (root / "desired/recovery/registry.yaml").unlink()
    stores = root / "desired/stores.yaml"
    lines = stores.read_text("utf-8").splitlines(keepends=True)
    stores.write_text("".join(line for line in lines if not line.startswith("  registry:")), "utf-8")


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The answer of a command run with --output json."""
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def error(self) -> str:
        """The code of the first error."""
        return next(line.split(" ", 1)[0].rstrip(":") for line in self.err.splitlines() if line[:2] == "E_")
