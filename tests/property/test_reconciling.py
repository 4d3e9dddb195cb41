"""Properties of planning and applying, on the memory store (I12 to I19, I23, I30)."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.canonical import canonical
from reconciler.diff import difference
from reconciler.errors import Conflict, Exit
from reconciler.ledger import inventory
from reconciler.model import Change, Declaration, Depth, Outcome, Selection, Slots
from reconciler.plan import Plan, store_plan
from reconciler.stores.memory import SHAPE
from reconciler.stores.memory_contents import Entry
from reconciler.testing.harness import (
    applied,
    by_hand,
    declared,
    live,
    planned,
    reconciled,
    recorded,
    steps_of,
)
from reconciler.testing.memory_harness import Killed, MemoryHarness
from reconciler.testing.strategies import FOREIGN, Wish, changes, wishes

ORDER = {
    "publish": 0,
    "promote": 1,
    "set alias": 2,
    "move alias": 2,
    "bind alias": 2,
    "drop alias": 3,
    "roll back": 4,
}


def managed(harness: MemoryHarness, declarations: list[Declaration]) -> dict[str, Slots]:
    """What is live of the declared addresses, without what a removal leaves."""
    return {
        str(wish.address): {
            slot: value
            for slot, value in harness.state.contents.slots(wish.address.kind, wish.address.key).items()
            if slot in wish.slots or (wish.address.kind, slot) not in SHAPE.permanent
        }
        for wish in declarations
    }


@given(wishes())
def test_one_apply_converges_and_the_second_does_nothing(wish: Wish) -> None:
    harness = MemoryHarness()
    store = harness.open()
    declarations = wish.declarations(harness, store)
    assert reconciled(store, declarations).exit_code is Exit.DONE
    before, records = harness.fingerprint(), recorded(store)
    again = planned(store, declarations)
    assert (steps_of(again), again.stores[0].adopted) == ((), ())
    assert applied(store, again).recorded == ()
    assert (harness.fingerprint(), recorded(store)) == (before, records)


@given(wishes(), wishes())
def test_the_way_does_not_matter(first: Wish, second: Wish) -> None:
    through, straight = MemoryHarness(), MemoryHarness()
    store, other = through.open(), straight.open()
    reconciled(store, first.declarations(through, store))
    wanted = second.declarations(through, store, before=first)
    reconciled(store, wanted)
    reconciled(other, second.declarations(straight, other, before=first))
    assert managed(through, wanted) == managed(straight, wanted)
    back = first.declarations(through, store, before=second)
    reconciled(store, back)
    fresh = MemoryHarness()
    again = fresh.open()
    reconciled(again, first.declarations(fresh, again, before=second))
    assert managed(through, back) == managed(fresh, back)


@given(wishes(), wishes(), st.lists(st.sampled_from(FOREIGN), unique=True))
def test_what_is_not_ours_is_never_changed(first: Wish, second: Wish, foreign: list[str]) -> None:
    harness = MemoryHarness()
    store = harness.open()
    by_hand(store, [declared(store, key, harness.build(key), ("derived/diff.json",)) for key in foreign])
    before = {key: live(store)[f"dataset/{key}"] for key in foreign}
    reconciled(store, first.declarations(harness, store))
    reconciled(store, second.declarations(harness, store, before=first))
    seen = live(store)
    assert {key: seen[f"dataset/{key}"] for key in foreign} == before
    assert not [a for a in inventory(store.history()).recorded if a.key in foreign]


@given(wishes(), wishes())
def test_plan_does_not_depend_on_the_order_of_its_input(first: Wish, second: Wish) -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    wanted = second.declarations(harness, store, before=first)

    def plan_of(declarations: list[Declaration], *, backwards: bool) -> Plan:
        seen = list(store.snapshot(Selection()))
        if backwards:
            seen = [one._replace(slots=dict(reversed(list(one.slots.items())))) for one in seen]
        found = difference(declarations, seen, inventory(store.history()), shape=SHAPE, everything_ours=False)
        part = store_plan(store.config, SHAPE, found, depth=Depth.MANIFESTS)
        return Plan(stores=(part,), commit="c", policy="p", tool="t")

    turned = [wish._replace(slots=dict(reversed(list(wish.slots.items())))) for wish in wanted]
    plans = [plan_of(wanted, backwards=False), plan_of(turned, backwards=True)]
    assert canonical(plans[0].to_json(issued=1)) == canonical(plans[1].to_json(issued=1))


@given(changes(), st.data())
def test_steps_do_not_depend_on_the_order_of_the_changes(found: list[Change], data: st.DataObject) -> None:
    turned = data.draw(st.permutations(found))
    sources = {change.address: f"builds/{change.address.key}" for change in found}
    assert SHAPE.arrange("m", found, sources) == SHAPE.arrange("m", turned, dict(reversed(sources.items())))


@given(changes())
def test_steps_come_in_a_safe_order_and_hold_every_change_once(found: list[Change]) -> None:
    steps = SHAPE.arrange("m", found, {})
    ranks = [next(rank for word, rank in ORDER.items() if step.id.startswith(word)) for step in steps]
    assert ranks == sorted(ranks)
    names = [step.id for step in steps]
    assert len(set(names)) == len(names)
    for at, step in enumerate(steps):
        assert set(step.after) <= set(names[:at])
    held = [change for step in steps for change in step.changes]
    kept = [c for c in found if not (c.slot == "artifact" and c.after is None)]
    assert sorted(map(repr, held)) == sorted(map(repr, kept))


HASH_SEEDS = """
from reconciler.canonical import canonical
from reconciler.testing.harness import planned
from reconciler.testing.memory_harness import MemoryHarness
from reconciler.testing.strategies import POOL, Wish
harness = MemoryHarness()
store = harness.open()
wish = Wish(tuple((key, ("derived/diff.json",)) for key in POOL), POOL[0])
plan = planned(store, wish.declarations(harness, store))
print(canonical(plan.to_json(issued=1)).decode())
"""


def test_plan_is_the_same_bytes_under_every_hash_seed() -> None:
    plans = {
        subprocess.run(
            [sys.executable, "-c", HASH_SEEDS],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(plans) == 1
    assert len(plans.pop()) > 1000


@given(wishes(), wishes())
def test_planning_writes_nothing(first: Wish, second: Wish) -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    writes: list[str] = []
    harness.state.before_write = writes.append
    before, contents = harness.fingerprint(), harness.state.contents
    planned(store, second.declarations(harness, store, before=first))
    assert (writes, harness.fingerprint()) == ([], before)
    assert harness.state.contents is contents


@given(wishes(), wishes(), st.data())
def test_value_that_moved_since_the_plan_conflicts_and_nothing_is_written(
    first: Wish, second: Wish, data: st.DataObject
) -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    plan = planned(store, second.declarations(harness, store, before=first))
    touched = [
        change.address.key
        for step in steps_of(plan)
        for change in step.changes
        if (change.address.kind, change.slot) == ("dataset", "entry")
    ]
    assume(touched)
    key = data.draw(st.sampled_from(touched))
    contents = harness.state.contents
    entry = Entry("listed at elsewhere/manifest.json elsewhere/gene_summary.sqlite")
    harness.state.contents = replace(contents, catalog={**(contents.catalog or {}), key: entry})
    before, records = harness.fingerprint(), recorded(store)
    with pytest.raises(Conflict):
        applied(store, plan)
    assert (harness.fingerprint(), recorded(store)) == (before, records)


def told(harness: MemoryHarness) -> list[object]:
    """What the ledger says, without links (they hold the store's name) and receipts (of the last look)."""
    return [
        (r.seq, r.run, r.steps, [(one.step, one.outcome) for one in r.results or ()], r.heads)
        for r in harness.open().history()
    ]


@given(wishes(), wishes(), st.integers(1, 9), st.integers(1, 9))
def test_run_that_was_killed_anywhere_ends_in_the_same_bytes(
    first: Wish, second: Wish, kill: int, again: int
) -> None:
    untroubled, troubled = MemoryHarness(), MemoryHarness()
    for harness in (untroubled, troubled):
        store = harness.open()
        reconciled(store, first.declarations(harness, store))
    store = untroubled.open()
    reconciled(store, second.declarations(untroubled, store, before=first))

    store = troubled.open()
    wanted = second.declarations(troubled, store, before=first)
    for write in (kill, again):
        try:
            with troubled.killed(write):
                store.recover()
                reconciled(store, wanted)
        except Killed:
            store = troubled.open()
    store.recover()
    reconciled(store, wanted)
    assert troubled.fingerprint() == untroubled.fingerprint()
    assert told(troubled) == told(untroubled)


@given(wishes(), st.integers(2, 7))
def test_what_is_done_is_a_prefix_of_the_plan(wish: Wish, kill: int) -> None:
    harness = MemoryHarness()
    store = harness.open()
    declarations = wish.declarations(harness, store)
    plan = planned(store, declarations)
    assume(steps_of(plan))
    with harness.failing(harness.places[kill - 1]):
        results = [item.result.outcome for item in applied(store, plan).items]
    done = results.count(Outcome.APPLIED)
    assert results[:done] == [Outcome.APPLIED] * done
    assert Outcome.APPLIED not in results[done:]
    reconciled(store, declarations)
    assert steps_of(planned(store, declarations)) == ()
