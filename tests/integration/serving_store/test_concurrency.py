"""Many writers, readers beside them, paused holders, and a fence that holds."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.errors import Conflict, Unavailable
from reconciler.model import Change, DatasetId, Selection
from reconciler.testing.samples import Stage, minimal_dataset
from tests.integration.serving_store.world import (
    H110,
    H111,
    LATEST,
    RUN,
    Wish,
    World,
    outcomes,
    promote,
    roll_back,
    step,
    tree,
)

WRITERS = 8
EACH = 100
READERS = 4


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def promote_until_done(world: World, wanted: list[DatasetId]) -> None:
    store = world.open()
    for one in wanted:
        assert outcomes(store.commit((promote(one),), RUN)) == ["applied"]


def move_alias_for_ever(world: World, stop: Path) -> None:
    store = world.open()
    names = [str(H110), str(H111)]
    while not stop.exists():
        change = Change(LATEST, "dataset", names[0], names[1])
        assert outcomes(store.commit((step("move", "alias latest", change),), RUN)) == ["applied"]
        names.reverse()


def watch(world: World, stop: Path) -> None:
    """A reader that follows the protocol and fails at the first thing that is not whole."""
    reads = 0
    while not stop.exists() or reads == 0:
        store = world.open()
        seen = {str(one.address): one for one in store.snapshot(Selection())}
        store.close()
        assert not [one for one in seen.values() if one.problems]
        assert all("artifact" in one.slots for one in seen.values() if "entry" in one.slots)
        named = seen["serving/alias/latest"].slots["dataset"]
        assert seen[f"serving/dataset/{named}"].slots["entry"] == "listed"
        reads += 1


def test_no_promotion_of_many_writers_is_lost_and_readers_see_whole_states(tmp_path: Path) -> None:
    world = World(tmp_path, lock_timeout=120.0).building(H110, H111)
    world.reconcile(Wish(listed=(H110, H111), latest=H110))
    wanted = [DatasetId("112", "homo_sapiens", f"A{number}") for number in range(WRITERS * EACH)]
    for one in wanted:
        minimal_dataset(world.root, one, stage=Stage.PUBLISHED)
    stop = tmp_path / "stop"
    readers = [forked(lambda: watch(world, stop)) for _ in range(READERS)]
    mover = forked(lambda: move_alias_for_ever(world, stop))
    writers = [
        forked(lambda n=number: promote_until_done(world, wanted[n::WRITERS]))  # type: ignore[misc]
        for number in range(WRITERS)
    ]
    assert [status_of(writer) for writer in writers] == [0] * WRITERS
    stop.touch()
    assert [status_of(child) for child in (mover, *readers)] == [0] * (1 + READERS)
    listed = {key for key, slots in world.live().items() if slots.get("entry") == "listed"}
    assert listed == {f"dataset/{one}" for one in (H110, H111, *wanted)}
    records = list(world.open().history())
    promotions = [
        change for record in records[1:] for change in record.applied_changes() if change.slot == "entry"
    ]
    assert len(promotions) == WRITERS * EACH


def test_of_many_writers_of_the_same_step_one_wins_and_the_rest_write_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, lock_timeout=60.0).building(H110)
    world.reconcile(Wish(listed=(H110,)))
    world.commit(roll_back(H110))

    def race() -> None:
        try:
            world.commit(promote(H110))
        except Conflict:
            os._exit(6)

    children = [forked(race) for _ in range(6)]
    assert sorted(status_of(child) for child in children) == [0, 6, 6, 6, 6, 6]
    assert [record.seq for record in world.open().history()] == [1, 2, 3]


def test_a_held_lock_times_out_naming_its_holder_and_writes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, lock_timeout=0.1).building(H110)
    world.reconcile(Wish(listed=(H110,)))

    def hold() -> None:
        failpoints.arm("fs.read_base=stop")
        world.commit(roll_back(H110), run=replace(RUN, command="catalog rollback"))

    child = forked(hold)
    os.waitpid(child, os.WUNTRACED)
    before = tree(world.root)
    try:
        with pytest.raises(Conflict) as caught:
            world.commit(roll_back(H110))
        assert tree(world.root) == before
    finally:
        os.kill(child, signal.SIGCONT)
    assert caught.value.code == "E_LOCKED"
    assert json.dumps(child) in str(caught.value)
    assert "catalog rollback" in str(caught.value)
    assert status_of(child) == 0
    assert world.live() == {f"dataset/{H110}": {"artifact": world.digests[H110]}}


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    world = World(tmp_path, lock_timeout=0.0).building(H110)
    world.reconcile(Wish(listed=(H110,)))

    def die() -> None:
        failpoints.arm("fs.read_base=kill")
        world.commit(roll_back(H110))

    assert status_of(forked(die)) == -signal.SIGKILL
    assert outcomes(world.commit(roll_back(H110))) == ["applied"]


@pytest.mark.parametrize("moment", ["fs.catalog.cas", "fs.journal.cas", "fs.journal.before", "fs.read_base"])
def test_a_paused_holder_whose_lock_was_removed_writes_nothing_more(tmp_path: Path, moment: str) -> None:
    world = World(tmp_path, lock_timeout=1.0).building(H110, H111)
    world.reconcile(Wish(listed=(H110, H111)))

    def paused() -> None:
        failpoints.arm(f"{moment}=stop")
        try:
            results = world.commit(roll_back(H110))
        except (Conflict, Unavailable):
            os._exit(6)
        os._exit(6 if outcomes(results) in (["conflict"], ["unknown"]) else 0)

    child = forked(paused)
    os.waitpid(child, os.WUNTRACED)
    (world.root / ".reconciler/lock").unlink()
    world.commit(roll_back(H111))
    after = tree(world.root, without=(".reconciler/lock",))
    os.kill(child, signal.SIGCONT)
    assert status_of(child) == 6
    assert tree(world.root, without=(".reconciler/lock", ".reconciler/tmp")) == after


def test_a_writer_that_takes_no_lock_is_noticed_before_the_rename(tmp_path: Path) -> None:
    world = World(tmp_path).building(H110, H111)
    world.reconcile(Wish(listed=(H110, H111)))

    def paused() -> None:
        failpoints.arm("fs.catalog.cas=stop")
        assert outcomes(world.commit(roll_back(H110))) == ["conflict"]

    child = forked(paused)
    os.waitpid(child, os.WUNTRACED)
    theirs = b'{"datasets":[],"model_version":"v1"}'
    (world.root / "catalog.json").write_bytes(theirs)
    os.kill(child, signal.SIGCONT)
    child_status = status_of(child)
    assert (world.root / "catalog.json").read_bytes() == theirs
    assert child_status in {0, 1}


def test_the_lock_is_really_held_during_a_commit(tmp_path: Path) -> None:
    world = World(tmp_path).building(H110)
    world.reconcile(Wish(listed=(H110,)))

    def hold() -> None:
        failpoints.arm("fs.catalog.rename.before=stop")
        world.commit(roll_back(H110))

    child = forked(hold)
    os.waitpid(child, os.WUNTRACED)
    with (world.root / ".reconciler/lock").open("r+") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(child, signal.SIGCONT)
    assert status_of(child) == 0


def test_many_first_commits_of_one_wish_make_one_store(tmp_path: Path) -> None:
    world = World(tmp_path, lock_timeout=60.0).building(H110, H111)

    def first() -> None:
        try:
            world.reconcile(Wish(listed=(H110, H111), latest=H111))
        except Conflict:
            os._exit(6)

    children = [forked(first) for _ in range(6)]
    assert {status_of(child) for child in children} <= {0, 6}
    assert [record.seq for record in world.open().history()] == [1]
    assert sorted(world.live()) == ["alias/latest", f"dataset/{H110}", f"dataset/{H111}"]
