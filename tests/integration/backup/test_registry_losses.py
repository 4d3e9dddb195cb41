"""Each part of a registry is lost or broken in turn: it is noticed, and every row and object comes back.

What the backup does not hold is named: nothing is proved that nobody looked at.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.backup.test_registry_commands import FROM, registry
from tests.integration.backup.test_serving import flip
from tests.integration.cli_registry.conftest import STORE, repository
from tests.integration.gitops.conftest import Repository

__all__ = ["registry", "repository"]

DATABASE = "var/registry.db"
TABLES = ("manifests", "dataset_manifests", "dataset_tags", "retired_versions", "reconciler_packets")
INTO = ("--into", "database=sqlite:var/back.db", "--into", "objects=file:var/back")


def rows(repo: Repository) -> dict[str, list[tuple[object, ...]]]:
    """Every row but the time at which a record was put, which is that of this database."""
    with closing(sqlite3.connect(repo.root / DATABASE)) as database:
        found = {table: sorted(database.execute(f"SELECT * FROM {table}")) for table in TABLES}  # noqa: S608
        ledger = database.execute("SELECT seq, intent, outcome FROM reconciler_ledger ORDER BY seq")
        return {**found, "ledger": list(ledger)}


def objects(repo: Repository) -> dict[str, bytes]:
    place = repo.root / "var/manifests"
    return {path.name: path.read_bytes() for path in sorted(place.glob("*")) if path.is_file()}


def half(repo: Repository) -> list[Path]:
    return [repo.root / "var/manifests" / name for name in sorted(objects(repo))[::2]]


def without_last_record(repo: Repository) -> None:
    with closing(sqlite3.connect(repo.root / DATABASE)) as database, database:
        database.execute("DELETE FROM reconciler_ledger WHERE seq = (SELECT max(seq) FROM reconciler_ledger)")


def each(paths: list[Path], do: Callable[[Path], None]) -> None:
    for path in paths:
        do(path)


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 500)


def lose_everything(repo: Repository) -> None:
    (repo.root / DATABASE).unlink()
    shutil.rmtree(repo.root / "var/manifests")


LOSSES: dict[str, tuple[Callable[[Repository], None], int, str]] = {
    "database deleted": (lambda repo: (repo.root / DATABASE).unlink(), 8, "E_NOT_AT_COMMIT"),
    "database corrupted": (lambda repo: overwrite(repo.root / DATABASE), 8, "E_DATABASE"),
    "half of the objects deleted": (lambda repo: each(half(repo), Path.unlink), 8, "E_MANIFEST_OBJECT"),
    "half of the objects corrupted": (lambda repo: each(half(repo), flip), 8, "E_MANIFEST_HASH"),
    "the last record deleted": (without_last_record, 8, "E_LEDGER_CHAIN"),
    "everything": (lose_everything, 8, "E_NOT_AT_COMMIT"),
}
UNSAID = {"database deleted", "database corrupted", "the last record deleted", "everything"}
"""Losses after which nothing live says which release was the newest."""


def drill(repo: Repository, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = repo.run("recovery", "drill", *STORE, *FROM, "--output", "json", *words)
    assert ran.out, ran.err
    return ran.code, {check["name"]: check for check in ran.document["drills"][0]["checks"]}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_of_a_registry_is_noticed_and_every_row_and_object_comes_back(
    registry: Repository, loss: str
) -> None:
    before = rows(registry), objects(registry)
    lose, code, error = LOSSES[loss]
    lose(registry)
    noticed = registry.run("verify", *STORE, "--deep")
    assert (noticed.code, noticed.error) == (code, error), noticed.err

    ended, checks = drill(registry)
    assert (ended, [name for name, one in checks.items() if one["verdict"] == "failed"]) == (0, [])
    assert checks["release-identity"]["verdict"] == ("not proved" if loss in UNSAID else "proved")

    registry.ok("backup", "restore", *STORE, *FROM, *INTO)
    (registry.root / DATABASE).unlink(missing_ok=True)
    shutil.rmtree(registry.root / "var/manifests", ignore_errors=True)
    (registry.root / "var/back.db").rename(registry.root / DATABASE)
    (registry.root / "var/back").rename(registry.root / "var/manifests")
    assert (rows(registry), objects(registry)) == before
    assert drill(registry, "--restored")[0] == 0
    registry.ok("verify", *STORE, "--deep")
