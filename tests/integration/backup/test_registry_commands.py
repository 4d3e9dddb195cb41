"""A registry through the command line: lost in parts or as a whole, killed on the way back, drilled."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from reconciler.failpoints import NAMES
from tests.integration.cli_registry.conftest import D1, H1, STORE, dataset, repository
from tests.integration.command_line import CLEAN, PROJECT
from tests.integration.gitops.conftest import Repository

__all__ = ["repository"]

DOCUMENT = dataset(
    "versions:\n  1.0.0: {manifest: manifests/one.json}\n  1.1.0: {manifest: manifests/two.json}\n"
)
FROM = ("--from", "var/backup")


@pytest.fixture
def registry(repository: Repository) -> Repository:
    """A registry with two versions that git declares, backed up."""
    (repository.root / "desired/datasets/mainnet.yaml").write_text(DOCUMENT)
    governance = repository.root / "ops/datasets"
    governance.mkdir(parents=True)
    shutil.copy(PROJECT / "ops/datasets/rollback-policy.json", governance)
    repository.commit("Two versions")
    repository.ok("apply", "--yes")
    repository.ok("backup", "create", *STORE, "--to", "var/backup", "--verify")
    return repository


def resolved(registry: Repository) -> str:
    return registry.ok("registry", "resolve", "ethereum/mainnet@1.0.0", *STORE).out.strip()


def test_a_drill_proves_a_registry_in_a_scratch_directory(registry: Repository) -> None:
    ran = registry.ok("recovery", "drill", *STORE, *FROM, "--output", "json")
    (report,) = ran.document["drills"]
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert {name for name, verdict in verdicts.items() if verdict != "proved"} == {
        "backup-age",  # no Recovery document promises anything
        "time",
        "rollback-rehearsed",  # there is one release only
    }
    assert report["release"] == "registry#1"


@pytest.mark.parametrize("lost", ["database", "objects", "everything"])
def test_what_a_registry_lost_comes_back_where_it_was(registry: Repository, lost: str) -> None:
    before = resolved(registry)
    (registry.root / "var/registry.db").unlink()  # a place with rows would not be empty
    if lost == "objects":
        (registry.root / "var/manifests" / H1).unlink()
    elif lost == "everything":
        shutil.rmtree(registry.root / "var/manifests")
    registry.ok("backup", "restore", *STORE, *FROM)
    assert resolved(registry) == before
    assert D1[7:] in before
    assert "no drill proved it" in registry.ok("plan", "--detailed-exitcode").err
    registry.ok("recovery", "drill", *STORE, *FROM, "--restored")
    assert "no drill proved it" not in registry.ok("plan", "--detailed-exitcode").err


def test_a_database_that_is_broken_is_neither_backed_up_nor_restored_over(registry: Repository) -> None:
    path = registry.root / "var/registry.db"
    path.write_bytes(b"this is no database" * 100)
    for words in (("create", "--to", "var/backup"), ("restore", *FROM)):
        ran = registry.run("backup", *words, *STORE)
        assert (ran.code, ran.error) == (8, "E_DATABASE")
    assert path.read_bytes().startswith(b"this is no database")


KILLS = [name for name in sorted(NAMES) if name.startswith("reg.") and "delete" not in name]


@pytest.mark.parametrize("name", KILLS)
def test_a_restore_of_a_registry_that_was_killed_is_finished_by_the_next_run(
    registry: Repository, name: str
) -> None:
    before = resolved(registry)
    places = ("--into", "database=sqlite:var/back.db", "--into", "objects=file:var/back")
    words = ("backup", "restore", *STORE, *FROM, *places)
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", *words],
        cwd=registry.root,
        env={**CLEAN, "RECONCILER_FAILPOINTS": f"{name}=kill"},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -9
    ran = registry.run(*words)
    if name == "reg.commit.answer":  # it had landed
        assert (ran.code, ran.error) == (3, "E_RESTORE_PLACE")
    else:
        assert ran.code == 0, ran.err
    shutil.copy(registry.root / "var/back.db", registry.root / "var/registry.db")
    shutil.rmtree(registry.root / "var/manifests")
    shutil.copytree(registry.root / "var/back", registry.root / "var/manifests")
    assert resolved(registry) == before
