"""What recovery does when the world changed after the kill: it only shrinks, and says what it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reconciler.canonical import canonical
from reconciler.errors import Corrupt, OutcomeUnknown
from tests.faults.test_serving_faults import in_child
from tests.integration.serving_store.world import (
    H110,
    H111,
    Wish,
    World,
    assert_readable,
    litter,
    outcomes,
    promote,
    roll_back,
    tree,
)

WISH = Wish(listed=(H110, H111), latest=H111)


def killed(base: Path, moment: str) -> World:
    world = World(base).building(H110, H111)
    world.reconcile(Wish(listed=(H110,), latest=H110))
    in_child(lambda: world.reconcile(WISH), f"{moment}=kill")
    return world


def recovered(world: World) -> list[str]:
    store = world.open()
    try:
        return outcomes(store.recover() or ())
    finally:
        store.close()


def test_recovery_finishes_the_run_and_says_what_it_did(tmp_path: Path) -> None:
    world = killed(tmp_path, "fs.journal.after")
    assert recovered(world) == ["applied", "applied", "applied"]
    assert world.steps(WISH) == []
    assert recovered(world) == []


def test_an_unfinished_run_is_seen_in_the_history(tmp_path: Path) -> None:
    world = killed(tmp_path, "fs.journal.after")
    assert [record.results is None for record in world.open().history()] == [False, True]


def test_another_commit_finishes_the_open_run_first(tmp_path: Path) -> None:
    world = killed(tmp_path, "fs.catalog.rename.before")
    assert outcomes(world.commit(roll_back(H110))) == ["applied"]
    assert sorted(world.live()) == ["alias/latest", f"dataset/{H110}", f"dataset/{H111}"]
    assert [record.seq for record in world.open().history()] == [1, 2, 3]


def test_staging_that_is_gone_is_made_again_from_the_source(tmp_path: Path) -> None:
    whole = World(tmp_path / "whole").building(H110, H111)
    whole.reconcile(Wish(listed=(H110,), latest=H110))
    whole.reconcile(WISH)
    world = killed(tmp_path / "killed", "fs.journal.after")
    shutil.rmtree(world.root / ".reconciler/staging")
    assert recovered(world) == ["applied", "applied", "applied"]
    assert tree(world.root) == tree(whole.root)


def test_without_staging_and_source_the_step_has_failed_and_nothing_else_starts(tmp_path: Path) -> None:
    world = killed(tmp_path, "fs.journal.after")
    shutil.rmtree(world.root / ".reconciler/staging")
    (world.base / "builds").rename(world.base / "elsewhere")
    assert recovered(world) == ["failed", "not started", "not started"]
    assert litter(world.root) == []
    assert sorted(world.live()) == ["alias/latest", f"dataset/{H110}"]
    (world.base / "elsewhere").rename(world.base / "builds")
    assert outcomes(world.reconcile(WISH)) == ["applied", "applied", "applied"]


def test_a_step_that_is_neither_as_before_nor_as_wanted_has_diverged(tmp_path: Path) -> None:
    world = killed(tmp_path, "fs.catalog.rename.before")
    catalog = json.loads((world.root / "catalog.json").read_bytes())
    foreign = {
        "dataset": {"assembly": "GRCh38", "release": "111", "species": "homo_sapiens"},
        "manifest_path": "their/manifest.json",
        "sqlite_path": "their/genes.sqlite",
    }
    theirs = canonical({**catalog, "datasets": [*catalog["datasets"], foreign]})
    (world.root / "catalog.json").write_bytes(theirs)
    with pytest.raises(Corrupt) as caught:
        recovered(world)
    assert caught.value.code == "E_DIVERGED"
    assert (world.root / "catalog.json").read_bytes() == theirs
    assert [r.outcome.value for r in list(world.open().history())[-1].results or ()] == [
        "applied",
        "diverged",
        "not started",
    ]
    assert recovered(world) == []


def test_a_run_whose_heads_cannot_be_read_stays_open_until_they_can(tmp_path: Path) -> None:
    world = killed(tmp_path, "fs.catalog.rename.before")
    catalog = (world.root / "catalog.json").read_bytes()
    (world.root / "catalog.json").write_bytes(b"{")
    with pytest.raises(OutcomeUnknown):
        recovered(world)
    with pytest.raises(OutcomeUnknown):
        world.commit(promote(H111))
    (world.root / "catalog.json").write_bytes(catalog)
    assert recovered(world) == ["applied", "applied", "applied"]
    assert_readable(world.root)
