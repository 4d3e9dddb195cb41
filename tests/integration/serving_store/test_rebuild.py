"""A broken catalog or alias is put aside and written anew from the ledger, git and what is on disk."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.errors import Denied
from reconciler.model import DatasetId
from reconciler.stores.serving.rebuild import Rebuilt
from tests.integration.serving_store.world import (
    H110,
    H111,
    HUMAN,
    M110,
    RUN,
    Wish,
    World,
    assert_readable,
    litter,
    tree,
)

BY_HAND = replace(RUN, by="hand", command="catalog rebuild")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path).building(H110, H111, M110)
    world.reconcile(Wish(listed=(H110, H111), latest=H111, lines={HUMAN: H110}))
    return world


def rebuild(world: World, *wanted: DatasetId, aliases: dict[str, DatasetId] | None = None) -> Rebuilt:
    store = world.open()
    try:
        return store.rebuild(BY_HAND, wanted=wanted, aliases=aliases or {})
    finally:
        store.close()


def heads(world: World) -> dict[str, bytes]:
    names = ("catalog.json", "latest.alias.json", ".reconciler/aliases.json")
    return {name: (world.root / name).read_bytes() for name in names}


@pytest.mark.parametrize("name", ["catalog.json", "latest.alias.json", ".reconciler/aliases.json"])
def test_a_broken_head_is_put_aside_and_comes_back_byte_for_byte(world: World, name: str) -> None:
    before = heads(world)
    (world.root / name).write_bytes(b"torn")
    rebuilt = rebuild(world)
    assert rebuilt.quarantined == (name,)
    assert heads(world) == before
    aside = world.root / ".reconciler/quarantine" / f"{2:020d}-{name.rpartition('/')[2]}"
    assert aside.read_bytes() == b"torn"


def test_a_lost_catalog_comes_back(world: World) -> None:
    before = heads(world)
    (world.root / "catalog.json").unlink()
    assert rebuild(world).quarantined == ()
    assert heads(world) == before


def test_nothing_broken_writes_nothing(world: World) -> None:
    before = tree(world.root)
    assert rebuild(world) == Rebuilt(results=(), quarantined=(), left_out=())
    assert tree(world.root) == before


def test_a_dataset_that_does_not_hold_is_left_out_and_reported(world: World) -> None:
    (world.root / "catalog.json").write_bytes(b"")
    shutil.rmtree(world.directory(H110))
    rebuilt = rebuild(world)
    assert [problem.code for problem in rebuilt.left_out] == ["E_NOT_PUBLISHED", "E_ALIAS_TARGET"]
    assert_readable(world.root)
    assert sorted(world.live()) == ["alias/latest", f"dataset/{H111}"]


def test_an_alias_that_was_asked_for_and_cannot_be_is_denied(world: World) -> None:
    (world.root / "latest.alias.json").write_bytes(b"{}")
    with pytest.raises(Denied) as caught:
        rebuild(world, aliases={"latest": M110})
    assert caught.value.code == "E_ALIAS_TARGET"
    assert (world.root / "latest.alias.json").read_bytes() == b"{}"


def test_what_git_wants_is_listed_too(world: World) -> None:
    (world.root / "catalog.json").write_bytes(b"{")
    shutil.copytree(world.base / "builds", world.base / "later")
    other = World(world.base / "other", world.digests)
    shutil.copytree(world.base / "builds", other.base / "builds")
    other.reconcile(Wish(listed=(M110,)))
    shutil.copytree(other.directory(M110), world.directory(M110))
    rebuild(world, M110)
    assert f"dataset/{M110}" in world.live()


def test_a_rebuild_is_history(world: World) -> None:
    (world.root / "catalog.json").write_bytes(b"{")
    rebuild(world)
    records = list(world.open().history())
    assert [(one.seq, one.run.by, one.run.command) for one in records] == [
        (1, "git", "apply"),
        (2, "hand", "catalog rebuild"),
    ]


def test_a_rebuild_that_is_killed_anywhere_is_finished_by_the_next_run(world: World, tmp_path: Path) -> None:
    (world.root / "catalog.json").write_bytes(b"{")
    (world.root / "latest.alias.json").write_bytes(b"{")
    (world.root / ".reconciler/aliases.json").write_bytes(b"{")

    def copied(name: str) -> World:
        base = tmp_path / "copies" / name
        shutil.rmtree(base, ignore_errors=True)
        shutil.copytree(world.base / "store", base / "store", copy_function=shutil.copy2)
        return world.moved_to(base)

    whole = copied("whole")
    failpoints.arm(",".join(f"{name}@{1 << 40}=kill" for name in failpoints.NAMES))
    rebuild(whole)
    passed = failpoints.hits()
    failpoints.arm("")
    expected = tree(whole.root, without=(".reconciler/lock",))
    for name, count in sorted(passed.items()):
        for hit in range(1, count + 1):
            broken = copied("run")
            child = os.fork()
            if child == 0:
                failpoints.arm(f"{name}@{hit}=kill")
                rebuild(broken)
                os._exit(0)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            store = broken.open()
            store.recover()
            store.close()
            rebuild(broken)
            assert tree(broken.root, without=(".reconciler/lock",)) == expected, (name, hit)
            assert litter(broken.root) == []
