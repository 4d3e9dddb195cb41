"""A plan is a function of desired state, stores, policy and tool alone (I12)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.gitops.conftest import Repository

NOW = {"SOURCE_DATE_EPOCH": "1800000000"}


def planned(repository: Repository, cwd: Path, mask: int, **environment: str) -> bytes:
    """The bytes of the saved plan, made somewhere else and otherwise."""
    out = cwd / "elsewhere.json"
    subprocess.run(
        [sys.executable, "-m", "reconciler", "plan", "--repo", repository.root, "--out", out],
        cwd=cwd,
        env={**CLEAN, **NOW, **environment},
        check=True,
        capture_output=True,
        umask=mask,
    )
    return out.read_bytes()


@pytest.mark.parametrize(
    ("mask", "environment"),
    [
        (0o022, {"PYTHONHASHSEED": "1"}),
        (0o022, {"PYTHONHASHSEED": "4711"}),
        (0o022, {"TZ": "Pacific/Kiritimati"}),
        (0o022, {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
        (0o077, {}),
    ],
    ids=["seed-1", "seed-4711", "time-zone", "locale", "umask"],
)
def test_plan_has_the_same_bytes_whatever_the_machine_is_like(
    published: Repository, tmp_path: Path, mask: int, environment: dict[str, str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    here = planned(published, published.root, 0o022)

    assert planned(published, elsewhere, mask, **environment) == here
