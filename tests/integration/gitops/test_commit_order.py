"""What is applied descends from what was applied last: an old job that runs again undoes nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.command_line import CLEAN
from tests.integration.gitops.conftest import Repository, let_latest_go_back

CATALOG = "desired/catalogs/human.yaml"
WAIVER = """apiVersion: reconciler/v1
kind: Exception
type: waiver
rule: commit-order
subject: serving
owner: Ada
reason: the history was cleaned
expires: 2099-01-01
"""


@pytest.fixture
def moved(applied: Repository) -> Repository:
    """Two commits were applied: latest is 111, then 110; a tag names the first."""
    let_latest_go_back(applied.root)
    applied.commit("Allow it")
    applied.git("tag", "first")
    applied.edit(CATALOG, "latest: 111", "latest: 110")
    applied.commit("Move latest back")
    applied.ok("apply", "--yes")
    applied.git("tag", "second")
    return applied


def rules(repository: Repository, *words: str) -> list[tuple[str, str, str]]:
    """The findings about the order of commits."""
    found = repository.run("plan", "--output", "json", *words).document["findings"]
    return [(f["severity"], f["code"], f["message"]) for f in found if f["rule"] == "commit-order"]


def refused(repository: Repository, *words: str, error: str = "E_COMMIT_ORDER") -> None:
    before = repository.store()
    ran = repository.run("apply", "--yes", *words)
    assert (ran.code, ran.error) == (4, error), ran.err
    assert repository.store() == before


def test_an_older_commit_is_denied_and_not_applied(moved: Repository) -> None:
    first, second = (moved.git("rev-parse", "--short=12", tag) for tag in ("first", "second"))
    said = f"commit {first} is older than {second}, which was applied last"
    assert rules(moved, "--ref", "first") == [("deny", "E_COMMIT_ORDER", said)]
    refused(moved, "--ref", "first")


def test_a_saved_plan_of_an_older_commit_is_not_applied(moved: Repository) -> None:
    moved.edit(CATALOG, "latest: 110", "latest: 111")
    moved.commit("Move latest forward")
    moved.ok("plan", "--out", "plan.json")
    moved.edit(CATALOG, "datasets:", "datasets: # all of them")
    moved.commit("Say something")
    moved.ok("apply", "--yes")
    moved.edit(CATALOG, "latest: 111", "latest: 110")
    moved.commit("And back again")
    moved.ok("apply", "--yes")
    before = moved.store()
    ran = moved.run("apply", "plan.json")
    assert (ran.code, ran.error) == (4, "E_COMMIT_ORDER")
    assert moved.store() == before


def test_a_branch_that_is_behind_is_warned_and_applied_once_it_is_merged(moved: Repository) -> None:
    moved.git("switch", "-q", "-c", "proposal", "first")
    moved.edit(CATALOG, "datasets:", "datasets: # all of them")
    moved.commit("Say why")
    [(severity, code, message)] = rules(moved)
    assert (severity, code) == ("warn", "E_COMMIT_ORDER")
    assert message.endswith("which was applied last; apply would refuse it")
    refused(moved)

    moved.git("revert", "--no-edit", "HEAD")
    moved.git("merge", "-q", "--no-edit", "second")
    moved.edit(CATALOG, "latest: 110", "latest: 111")
    moved.commit("Move latest forward")
    assert rules(moved) == []
    moved.ok("apply", "--yes")


def test_a_revert_is_a_newer_commit(moved: Repository) -> None:
    moved.git("revert", "--no-edit", "second")
    moved.ok("apply", "--yes")
    assert rules(moved) == []


def test_an_older_commit_that_changes_nothing_may_be_planned(applied: Repository) -> None:
    applied.edit(CATALOG, "datasets:", "datasets: # all of them")
    applied.commit("Say something")
    applied.ok("apply", "--yes")
    applied.ok("plan", "--ref", "HEAD~1", "--detailed-exitcode")
    applied.ok("apply", "--yes", "--ref", "HEAD~1")


def test_rewritten_history_needs_a_waiver(moved: Repository) -> None:
    moved.git("switch", "-q", "--orphan", "new")
    moved.git("checkout", "-q", "first", "--", ".")
    moved.commit("A new beginning")
    assert [found[:2] for found in rules(moved)] == [("warn", "E_COMMIT_ORDER")]
    refused(moved)
    (moved.root / "desired/exceptions/history.yaml").write_text(WAIVER)
    moved.commit("The history was cleaned")
    moved.ok("apply", "--yes")
    record = moved.ok("history", "--output", "json").document["stores"][0]["records"][-1]
    assert record["commit"] == moved.git("rev-parse", "HEAD")


@pytest.mark.parametrize("depth", [("--depth", "1"), ("--depth", "2")])
def test_a_clone_that_cannot_tell_is_refused_and_says_what_to_fetch(
    moved: Repository, tmp_path: Path, depth: tuple[str, ...]
) -> None:
    for note in ("one", "two"):
        moved.edit(CATALOG, "datasets:", f"datasets: # {note}")
        moved.commit("Say something")
    moved.edit(CATALOG, "latest: 110", "latest: 111")
    moved.commit("Move latest forward")
    where = f"file://{moved.root}"
    subprocess.run(["git", "clone", "-q", *depth, where, str(tmp_path / "clone")], env=CLEAN, check=True)
    clone = Repository(tmp_path / "clone")
    clone.git("remote", "set-head", "origin", "--delete")  # nothing is protected: that is refused before
    shutil.copytree(moved.root / "var", clone.root / "var")
    [(severity, code, message)] = rules(clone)
    assert (severity, code) == ("warn", "E_COMMIT_UNKNOWN")
    assert "cannot be told in this clone; apply would refuse it" in message
    before = clone.store()
    ran = clone.run("apply", "--yes")
    assert (ran.code, ran.error) == (4, "E_COMMIT_UNKNOWN")
    assert "fetch-depth: 0" in ran.err
    assert clone.store() == before
