"""A power loss at every moment of every operation: what may stand on the disk then reads well and heals.

The model of the disk is in `crash_states`. Each state is built as files, read through the real store, and
the same command is run again over it. Of the states that differ only in what no run ever reads (the bytes
and names below `tmp`, a copy in staging that was not sealed), a few are built, because sweeping them must
work in whatever shape they are; of the others, all that the search found.

Small operations are searched exhaustively; a moment of a large one that allows more states than `MOST` is
sampled. A trace without its syncs must fail, or the search would see nothing.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reconciler.canonical import canonical
from reconciler.errors import ReconcilerError
from reconciler.model import Depth, Selection
from tests.faults.crash_states import Call, Disk, State, crash_states, read_tree, recorded, write_tree
from tests.faults.test_serving_faults import CASES, LOCK, Case, started
from tests.integration.serving_store.world import (
    H110,
    H111,
    HUMAN,
    RUN,
    Wish,
    World,
    assert_readable,
    litter,
    outcomes,
    tree,
)

HEADS = (
    "store/catalog.json",
    "store/catalog.sha256",
    "store/latest.alias.json",
    "store/.reconciler/aliases.json",
)
OF_NO_READER = ("store/.reconciler/lock", "store/.reconciler/tmp/", "store/.reconciler/staging/")
"""What a finished run may have left: readers never look there, and the next run sweeps it."""
MOST = 500
SHAPES_OF_LITTER = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """One command over one state of the store."""

    name: str
    start: Callable[[Path], World]
    run: Callable[[World], object]
    repairs: bool = False


def reconciling(case: Case) -> Operation:
    return Operation(case.name, lambda base: started(case, base), lambda world: world.reconcile(case.wish))


def broken(base: Path) -> World:
    world = World(base).building(H110, H111)
    world.reconcile(Wish(listed=(H110, H111), latest=H111, lines={HUMAN: H110}))
    for head in ("catalog.json", "latest.alias.json", ".reconciler/aliases.json"):
        (world.root / head).write_bytes(b"{")
    return world


def rebuild(world: World) -> object:
    store = world.open()
    try:
        return store.rebuild(replace(RUN, by="hand", command="catalog rebuild"))
    finally:
        store.close()


ONLY_THE_ALIAS = Case(
    "only_the_alias", (Wish(listed=(H110, H111), latest=H110),), Wish(listed=(H110, H111), latest=H111)
)
OPERATIONS = (
    *map(reconciling, (*CASES, ONLY_THE_ALIAS)),
    Operation("catalog_rebuild", broken, rebuild, repairs=True),
)


@dataclass(frozen=True, slots=True)
class Trace:
    """What one uninterrupted run did."""

    world: World
    operation: Operation
    before: State
    calls: tuple[Call, ...]
    after: State
    whole: Mapping[str, bytes]
    contents: Mapping[str, frozenset[bytes | None]]


def traced(operation: Operation, base: Path) -> Trace:
    world = operation.start(base)
    before = read_tree(base, "store")
    with recorded(base) as calls:
        operation.run(world)
    disk = Disk(before)
    seen = [disk.now()]
    for call in calls:
        disk.do(call)
        seen.append(disk.now())
    return Trace(
        world=world,
        operation=operation,
        before=before,
        calls=tuple(calls),
        after=read_tree(base, "store"),
        whole=tree(world.root, without=LOCK),
        contents={head: frozenset(state.get(head) for state in seen) for head in HEADS},
    )


def laid(trace: Trace, state: State) -> World:
    """The world after the power came back."""
    shutil.rmtree(trace.world.root, ignore_errors=True)
    write_tree(trace.world.base, state)
    return trace.world


def assert_sound(trace: Trace, state: State) -> None:
    """What every reader relies on, and that the ledger's chain holds."""
    world = trace.world
    for head in HEADS:
        assert state.get(head) in trace.contents[head], f"{head} was never meant to be this"
    store = world.open()
    try:
        list(store.history())
        if trace.operation.repairs and any(state.get(head) in {b"{", None} for head in HEADS):
            return  # it is broken, as it was before, and says so
        seen = list(store.snapshot(Selection(depth=Depth.DEEP)))
    finally:
        store.close()
    listed = {one.address.key: one for one in seen if "entry" in one.slots}
    for key, one in listed.items():
        assert one.problems == (), key
        digests = {str(dataset): digest for dataset, digest in world.digests.items()}
        assert one.slots["artifact"] == digests[key]
    for one in seen:
        assert one.address.kind != "alias" or one.slots["dataset"] in listed
    assert_readable(world.root)
    for head in ("store/catalog.json", "store/latest.alias.json"):
        data = state.get(head)
        assert data is None or canonical(json.loads(data)) == data


def assert_heals(trace: Trace) -> None:
    trace.operation.run(trace.world)
    assert tree(trace.world.root, without=LOCK) == trace.whole
    assert litter(trace.world.root) == []


def visible(state: State) -> State:
    return {path: data for path, data in state.items() if not path.startswith(OF_NO_READER)}


@pytest.fixture(params=OPERATIONS, ids=[operation.name for operation in OPERATIONS])
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> Trace:
    return traced(request.param, tmp_path)


def read_by_some_run(state: State) -> frozenset[tuple[str, bytes | None]]:
    """What decides how a later run goes: everything but litter that is only ever removed."""
    litter = ("store/.reconciler/lock", "store/.reconciler/tmp/")
    return frozenset(
        (path, data) for path, data in state.items() if ".part" not in path and not path.startswith(litter)
    )


def worth_building(states: Iterable[tuple[int, State]], shapes: int) -> Iterator[tuple[int, State]]:
    """Every state that differs from the others for a later run, in a few shapes of litter."""
    built: Counter[frozenset[tuple[str, bytes | None]]] = Counter()
    for number, state in states:
        kind = read_by_some_run(state)
        built[kind] += 1
        if built[kind] <= shapes:
            yield number, state


def what_is_wrong(trace: Trace, state: State) -> str:
    """Why a state is not one that a power loss may leave; empty if it may."""
    laid(trace, state)
    try:
        assert_sound(trace, state)
        assert_heals(trace)
    except (AssertionError, ReconcilerError, OSError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def disk_after(trace: Trace, calls: Sequence[Call]) -> Disk:
    disk = Disk(trace.before)
    for call in calls:
        disk.do(call)
    return disk


def test_the_recorder_misses_no_call(trace: Trace) -> None:
    lock = "store/.reconciler/lock"
    assert {**disk_after(trace, trace.calls).now(), lock: b""} == {**trace.after, lock: b""}


def test_the_power_may_go_at_any_moment(trace: Trace) -> None:
    states = crash_states(Disk(trace.before), trace.calls, MOST)
    for number, state in worth_building(states, SHAPES_OF_LITTER):
        assert what_is_wrong(trace, state) == "", f"after {number} calls"


def test_what_was_reported_is_durable(trace: Trace) -> None:
    for state in disk_after(trace, trace.calls).states(MOST):
        assert visible(state) == visible(trace.after)


def test_killed_anywhere_then_finished_then_the_power_goes(trace: Trace) -> None:
    """What a killed process wrote is in the system's memory; the run that finds it must still sync it."""
    found: list[tuple[int, State]] = []
    for killed in range(len(trace.calls)):
        disk = disk_after(trace, trace.calls[:killed])
        at_kill = disk.now()
        laid(trace, at_kill)
        with recorded(trace.world.base) as again:
            trace.operation.run(trace.world)
        after = visible(read_tree(trace.world.base, "store"))
        found += ((killed, state) for _, state in crash_states(disk, again, 4))
        for state in disk.states(50):
            lost = set(after) - set(visible(state))
            # The last act of a run is its outcome. Once that is seen there is nothing left to finish; if it
            # is lost all the same, the run is open again and the next one finishes it.
            assert all(path.endswith(".outcome.json") and path in at_kill for path in lost), (killed, lost)
            assert visible(state) == {path: data for path, data in after.items() if path not in lost}
    for killed, state in worth_building(found, 1):
        assert what_is_wrong(trace, state) == "", f"killed after {killed} calls"


def test_a_record_is_not_lost_under_the_next_one(tmp_path: Path) -> None:
    trace = traced(reconciling(ONLY_THE_ALIAS), tmp_path)
    for killed in range(len(trace.calls)):
        disk = disk_after(trace, trace.calls[:killed])
        laid(trace, disk.now())
        with recorded(trace.world.base) as again:
            trace.operation.run(trace.world)
            trace.world.reconcile(ONLY_THE_ALIAS.before[0])
        for _, state in worth_building(crash_states(disk, again, MOST), 1):
            laid(trace, state)
            assert_sound(trace, state)


def is_open(state: State) -> bool:
    """Whether the ledger ends in a run without an outcome."""
    records = [path for path in state if path.endswith((".intent.json", ".outcome.json"))]
    return bool(records) and max(records).endswith(".intent.json")


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[4]], ids=lambda case: case.name)
def test_a_recorded_run_needs_its_sources_no_more(case: Case, tmp_path: Path) -> None:
    trace = traced(reconciling(case), tmp_path)
    (tmp_path / "builds").rename(tmp_path / "gone")
    states = worth_building(crash_states(Disk(trace.before), trace.calls, 100), 1)
    finished = 0
    for number, state in states:
        if is_open(state):
            store = laid(trace, state).open()
            try:
                assert set(outcomes(store.recover() or ())) == {"applied"}, number
            finally:
                store.close()
            assert tree(trace.world.root, without=LOCK) == trace.whole, number
            finished += 1
    assert finished > 5


def unsynced(trace: Trace, *, files: bool, directories: bool) -> Iterator[Call]:
    """The trace of a store that forgot to sync."""
    disk = Disk(trace.before)
    for call in trace.calls:
        disk.do(call)
        if call.kind != "sync" or not (directories if disk.is_directory(call.path) else files):
            yield call


@pytest.mark.parametrize(
    ("files", "directories"),
    [(True, True), (True, False), (False, True)],
    ids=["all", "files", "directories"],
)
def test_the_search_finds_what_missing_syncs_break(tmp_path: Path, files: bool, directories: bool) -> None:  # noqa: FBT001
    trace = traced(reconciling(CASES[1]), tmp_path)
    calls = tuple(unsynced(trace, files=files, directories=directories))
    states = worth_building(crash_states(Disk(trace.before), calls, 40), 1)
    wrong = [text for _, state in states if (text := what_is_wrong(trace, state))]
    assert len(wrong) > 0
