"""A reconciler or a PDS that is killed, or whose disk fails, wherever that can happen.

Whatever stands after a fault can be read and names nothing that is missing; the same run done again ends
in the same records as if nothing had happened, each of them once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from reconciler import failpoints
from reconciler.errors import ReconcilerError
from reconciler.model import Outcome
from tests.integration.atproto.world import Promoted, World, ledger_of, outcomes
from tests.integration.registry.processes import ended, start
from tests.servers.pds import PdsServer, running
from tests.servers.pds_proxy import APPLY, Fault, Plan, before

OLD = Promoted("old")
LARGE = Promoted("large", large=True)
OTHER = Promoted("other", large=True)
NEVER = 1 << 40
OWN = ["ledger", "lock", "repository.car", "staging", "tmp"]
KILLED = -9
FAMILIES = ("fs.lock", "fs.journal.", "fs.close.", "pds.")
"""Failpoints that a run over an account can pass; `pds.probe` only after a doubtful answer."""


def work(world: World) -> None:
    """Two datasets that need several requests, and one that goes."""
    with world.open() as store:
        world.reconcile(store, world.wishes(LARGE, OTHER, withdrawn=[OLD]))


def look(world: World) -> None:
    """No label names an entry, and no entry a schema, that is not there."""
    records = world.records()
    for name, record in records.items():
        if name.startswith("label/"):
            assert f"entry/{record['datasetUri'].rpartition('/')[2]}" in records
        if name.startswith("entry/"):
            assert f"schema/{record['schemaRef'].rpartition('/')[2]}" in records


@pytest.fixture
def places(world: World) -> list[tuple[str, int]]:
    """Every failpoint, and every time the work passes it."""
    with world.open() as store:
        world.reconcile(store, world.wishes(OLD))
    names = [name for name in failpoints.NAMES if name.startswith(FAMILIES) and name != "pds.probe"]
    failpoints.arm(",".join(f"{name}@{NEVER}=kill" for name in names))
    try:
        work(world)
        hits = failpoints.hits()
    finally:
        failpoints.arm("")
    assert set(hits) == set(names)
    return [(name, hit) for name, count in sorted(hits.items()) for hit in range(1, count + 1)]


def fresh(world: World, number: int) -> World:
    """Another account with the old dataset."""
    base = world.base / str(number)
    base.mkdir()
    other = World(base, world.server, world.server.account())
    with other.open() as store:
        other.reconcile(store, other.wishes(OLD))
    return other


def test_killed_anywhere_and_run_again_it_ends_as_if_nothing_had_happened(
    world: World, places: list[tuple[str, int]]
) -> None:
    for number, (name, hit) in enumerate(places):
        other = fresh(world, number)
        child = start(partial(work, other), armed=f"{name}@{hit}=kill")
        assert ended(child) == KILLED, (name, hit)
        look(other)
        work(other)
        assert other.records() == other.expected(LARGE, OTHER), (name, hit)
        assert len(ledger_of(other)) % 2 == 0, (name, hit)
        own = other.base / "ledger/.reconciler"
        assert sorted(path.name for path in own.iterdir()) == OWN
        assert [*(own / "tmp").iterdir(), *(own / "staging").iterdir()] == []
        with other.open() as store:
            assert other.plan(store, other.wishes(LARGE, OTHER)).empty, (name, hit)


def test_killed_in_the_run_that_finishes_another_it_still_converges(
    world: World, places: list[tuple[str, int]]
) -> None:
    middle = [(name, hit) for name, hit in places if name in {"pds.write.answer", "fs.close.before"}]
    for number, (name, hit) in enumerate(middle):
        other = fresh(world, number)
        for again in ("pds.write.before", "pds.verify", "fs.close.after"):
            for armed in (f"{name}@{hit}=kill", f"{again}=kill"):
                assert ended(start(partial(work, other), armed=armed)) in {KILLED, 0}
            look(other)
        work(other)
        assert other.records() == other.expected(LARGE, OTHER), (name, hit)


def test_a_fault_anywhere_is_reported_truly_and_run_again_it_converges(
    world: World, places: list[tuple[str, int]]
) -> None:
    for number, (name, hit) in enumerate(places):
        other = fresh(world, number)
        before_it = other.records()
        failpoints.arm(f"{name}@{hit}=EIO")
        try:
            with other.open() as store:
                wishes = other.wishes(LARGE, OTHER, withdrawn=[OLD])
                told = set(outcomes(other.reconcile(store, wishes)))
        except ReconcilerError:
            told = set()
        finally:
            failpoints.arm("")
        look(other)
        seen = other.records()
        if told <= {Outcome.FAILED, Outcome.NOT_STARTED}:
            assert seen == before_it, (name, hit)
        if told == {Outcome.APPLIED}:
            assert seen == other.expected(LARGE, OTHER), (name, hit)
        work(other)
        assert other.records() == other.expected(LARGE, OTHER), (name, hit)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[World]:
    """An account on a server of its own, which a test may kill."""
    with running() as server:
        yield World(tmp_path, server, server.account())


@pytest.mark.parametrize("fault", [Fault.ABANDONED, Fault.UNANSWERED, Fault.LOST])
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_pds_that_is_killed_during_any_commit_comes_back_and_the_run_converges(
    mortal: World, fault: Fault, skip: int
) -> None:
    wishes = (LARGE, OTHER)
    kill = mortal.server.kill
    plan = Plan(APPLY, fault, skip=skip, before=kill) if fault is Fault.LOST else None
    plan = plan or Plan(APPLY, fault, skip=skip, after=kill)
    with before(mortal.server.url, plan) as proxy, mortal.open(service=proxy.url) as store:
        told = outcomes(mortal.reconcile(store, mortal.wishes(*wishes)))
    # What had landed before cannot be observed again either, while the server is away.
    assert told == [Outcome.UNKNOWN] * (skip + 1) + [Outcome.NOT_STARTED] * (4 - skip)
    assert sorted(ledger_of(mortal)) == ["00000000000000000001.intent.json"]
    mortal.server.start()
    look(mortal)
    with mortal.open() as store:
        mortal.reconcile(store, mortal.wishes(*wishes))
        assert mortal.plan(store, mortal.wishes(*wishes)).empty
    assert mortal.records() == mortal.expected(*wishes)


def test_restarted_pds_knows_sessions_and_records_as_they_were_committed(mortal: World) -> None:
    server: PdsServer = mortal.server
    with mortal.open() as store:
        mortal.reconcile(store, mortal.wishes(OLD))
        head = store.read().head
        server.kill()
        server.start()
        assert store.read().head == head
        assert outcomes(mortal.reconcile(store, mortal.wishes(OLD, LARGE))) == [Outcome.APPLIED] * 2
