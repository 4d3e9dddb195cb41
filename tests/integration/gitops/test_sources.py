"""Stores that cannot take what a source gives, or that lost what it gave."""

from __future__ import annotations

import shutil

from tests.integration.gitops.conftest import Repository


def test_a_full_store_is_named_and_its_source_is_not_blamed(published: Repository) -> None:
    before = published.store()
    ran = published.run("apply", "--yes", RECONCILER_FAILPOINTS="fs.stage.file.mid=ENOSPC")
    *_, last = ran.err.splitlines()
    assert ran.code == 10
    assert last.startswith("E_IO var/serving: the file system answered: No space left on device")
    assert published.store() == before


def test_a_listed_dataset_that_went_missing_comes_back_from_its_source(applied: Repository) -> None:
    whole = applied.store()
    shutil.rmtree(applied.root / "var/serving/release=110/species=homo_sapiens")
    assert applied.run("drift").code == 8
    gap = applied.run("status", "110/homo_sapiens/GRCh38")
    assert "published: reconciler apply --store serving" in gap.out
    assert "publish      110/homo_sapiens/GRCh38" in applied.ok("plan").out
    applied.ok("apply", "--yes", "--store", "serving")
    healed = {path: data for path, data in applied.store().items() if not path.startswith(".reconciler/")}
    assert healed == {path: data for path, data in whole.items() if not path.startswith(".reconciler/")}


def test_a_listed_dataset_that_went_missing_without_a_source_stops_the_plan(applied: Repository) -> None:
    shutil.rmtree(applied.root / "var/serving/release=110/species=mus_musculus")
    ran = applied.run("plan")
    assert (ran.code, ran.err.split()[0]) == (8, "E_ARTIFACT_MISSING")
