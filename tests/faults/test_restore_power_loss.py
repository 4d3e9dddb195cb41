"""A power loss at every moment of a restore: no half store passes for one, and the same command ends it.

The model of the disk is in `crash_states`, the way of looking at a state in `test_serving_power_loss`. The
archive is on another disk. A trace without its syncs must fail, or the search would see nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.archives.directory import DirectoryArchive
from reconciler.backup.archive import chosen
from reconciler.backup.create import Trust, create
from reconciler.backup.document import Backup
from reconciler.backup.restore import restore
from reconciler.errors import InvalidInput, ReconcilerError, Unavailable
from reconciler.model import Depth, Digest, Selection
from tests.faults.crash_states import Call, Disk, State, crash_states, read_tree, recorded, write_tree
from tests.faults.test_serving_faults import LOCK
from tests.faults.test_serving_power_loss import read_by_some_run, worth_building
from tests.integration.serving_store.world import H110, H111, Wish, World, tree

MOST = 120
MARK = "store/.reconciler/restore.json"
PLACE = (*LOCK, ".reconciler/restore.json")
_DRAFT = Backup(
    store="serving",
    kind="serving",
    settings={},
    number=0,
    previous=None,
    time=1_714_592_400,
    tool="test",
    commit="",
    records=0,
    ledger=None,
    heads={},
    index=Digest(""),
    parts=0,
    size=0,
)


def archive(base: Path) -> DirectoryArchive:
    return DirectoryArchive(base, "archive", lock_timeout=5)


def bring_back(world: World) -> None:
    """Restore the newest backup into the world's store."""
    store, kept = world.open(), archive(world.base)
    try:
        restore(kept, chosen(kept, "serving", None), store, lambda _line: None)
    finally:
        store.close()
        kept.close()


@dataclass(frozen=True, slots=True)
class Trace:
    """What one uninterrupted restore did."""

    world: World
    calls: tuple[Call, ...]
    after: State
    whole: Mapping[str, bytes]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    world = World(tmp_path_factory.mktemp("restore")).building(H110, H111)
    world.reconcile(Wish(listed=(H110, H111), latest=H111))
    world.reconcile(Wish(listed=(H110, H111), latest=H110))
    store, kept = world.open(), archive(world.base)
    with kept.writing():
        create(kept, store, _DRAFT, Trust.NOTHING)
    store.close()
    kept.close()
    whole = tree(world.root, without=LOCK)
    shutil.rmtree(world.root)
    world.root.mkdir()
    with recorded(world.base) as calls:
        bring_back(world)
    assert tree(world.root, without=PLACE) == whole
    return Trace(world, tuple(calls), read_tree(world.base, "store"), whole)


def laid(trace: Trace, state: State) -> None:
    shutil.rmtree(trace.world.root, ignore_errors=True)
    write_tree(trace.world.base, state)


def is_finished(state: State) -> bool:
    return b'"finished":true' in (state.get(MARK) or b"")


def assert_no_half_store(trace: Trace, state: State) -> None:
    """What is not completely back is refused to every reader, or there is nothing to read."""
    store = trace.world.open()
    try:
        seen = list(store.snapshot(Selection(depth=Depth.DEEP)))
        records = list(store.history())
    except Unavailable as refused:
        if refused.code != "E_RESTORE_UNFINISHED" or is_finished(state):
            raise
        return
    finally:
        store.close()
    if is_finished(state):
        assert [one.problems for one in seen if one.problems] == []
        assert (tree(trace.world.root, without=PLACE), len(records)) == (trace.whole, 2)
    else:
        assert (seen, records) == ([], [])


def assert_ends(trace: Trace, state: State) -> None:
    """The same command ends what was begun; what is finished is left alone."""
    try:
        bring_back(trace.world)
    except InvalidInput as refused:
        if refused.code != "E_RESTORE_PLACE" or not is_finished(state):
            raise
    assert tree(trace.world.root, without=PLACE) == trace.whole


def what_is_wrong(trace: Trace, state: State) -> str:
    laid(trace, state)
    try:
        assert_no_half_store(trace, state)
        assert_ends(trace, state)
    except (AssertionError, ReconcilerError, OSError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def disk() -> Disk:
    return Disk({"store": None})


def test_the_power_may_go_at_any_moment_of_a_restore(trace: Trace) -> None:
    looked = 0
    for number, state in worth_building(crash_states(disk(), trace.calls, MOST), 1):
        assert what_is_wrong(trace, state) == "", f"after {number} calls"
        looked += 1
    assert looked > 200


def test_a_restore_that_was_reported_is_durable(trace: Trace) -> None:
    ended = disk()
    for call in trace.calls:
        ended.do(call)
    for state in ended.states(MOST):
        assert read_by_some_run(state) == read_by_some_run(trace.after)


def unsynced(calls: Sequence[Call], *, directories: bool) -> Iterator[Call]:
    """The trace of a restore that forgot to sync, files or directories."""
    seen = disk()
    for call in calls:
        seen.do(call)
        if call.kind != "sync" or seen.is_directory(call.path) is not directories:
            yield call


@pytest.mark.parametrize("directories", [False, True], ids=["files", "directories"])
def test_the_search_finds_what_missing_syncs_of_a_restore_break(
    trace: Trace,
    directories: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    calls = tuple(unsynced(trace.calls, directories=directories))
    states = worth_building(crash_states(disk(), calls, MOST), 1)
    assert any(what_is_wrong(trace, state) for _, state in states)
