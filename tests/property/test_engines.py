"""I13 to I19 and I22 on real engines: a serving tree on disk, and a registry in SQLite with its objects.

The memory store has many examples of the same properties; here are few of each, because every one of them
makes a store of its own and syncs it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reconciler.errors import Conflict, Exit, ReconcilerError
from reconciler.ledger import inventory
from reconciler.model import Address, Declaration, Outcome, Selection, Slots
from reconciler.stores.port import Store, adapter
from reconciler.testing.harness import (
    Harness,
    applied,
    by_hand,
    declared,
    declared_alias,
    live,
    planned,
    reconciled,
    recorded,
    removed,
    steps_of,
)
from reconciler.testing.registry_harness import RegistryHarness
from reconciler.testing.serving_harness import ServingHarness
from reconciler.testing.strategies import POOL
from reconciler.testing.terms import terms_of

NewHarness = Callable[[], Harness]
FEW = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=[ServingHarness, RegistryHarness])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> NewHarness:
    """Makes empty live systems of one engine."""
    return lambda: request.param(tmp_path)


class Want(NamedTuple):
    """Things that are to be there, some with something more, and which of them the pointer names."""

    listed: tuple[tuple[str, bool], ...]
    pointer: str | None

    def declarations(
        self, harness: Harness, store: Store, *, before: Want | None = None
    ) -> list[Declaration]:
        """In the words of the store; what `before` had and this one has not gets a tombstone."""
        more = terms_of(store.config).extras[0]
        wishes = [
            declared(store, key, harness.build(key), more if extra else ()) for key, extra in self.listed
        ]
        kept = dict(self.listed)
        wishes += [removed(store, key) for key, _ in (before.listed if before else ()) if key not in kept]
        if self.pointer:
            wishes.append(declared_alias(store, self.pointer))
        return sorted(wishes, key=lambda wish: wish.address)


@st.composite
def wants(draw: st.DrawFn) -> Want:
    keys = draw(st.lists(st.sampled_from(POOL[:6]), unique=True, min_size=1, max_size=4))
    listed = tuple((key, draw(st.booleans())) for key in sorted(keys))
    return Want(listed, draw(st.sampled_from(keys)))


def whole(harness: Harness, store: Store) -> tuple[object, ...]:
    """Every byte of the live system, and its revision."""
    return (dict(harness.fingerprint()), store.revision(), recorded(store))


def found(store: Store) -> set[Address]:
    """Every address that is live, but for those that follow from the others."""
    shape = adapter(store.config.kind).SHAPE
    return {seen.address for seen in store.snapshot(Selection()) if not shape.derived(seen.address)}


def managed(store: Store, wanted: list[Declaration]) -> dict[str, Slots]:
    """What is live of the declared addresses, without what a removal leaves."""
    seen, permanent = live(store), adapter(store.config.kind).SHAPE.permanent
    return {
        str(wish.address): {
            slot: value
            for slot, value in seen.get(f"{wish.address.kind}/{wish.address.key}", {}).items()
            if slot in wish.slots or (wish.address.kind, slot) not in permanent
        }
        for wish in terms_of(store.config).implied(wanted)
    }


def test_one_apply_converges_the_second_does_nothing_and_planning_writes_nothing(make: NewHarness) -> None:
    @FEW
    @given(wants(), wants())
    def holds(first: Want, second: Want) -> None:
        harness = make()
        store = harness.open()
        reconciled(store, first.declarations(harness, store))
        wanted = second.declarations(harness, store, before=first)
        before = whole(harness, store)
        plan = planned(store, wanted)
        assert whole(harness, store) == before
        assert applied(store, plan).exit_code is Exit.DONE
        after = whole(harness, store)
        again = planned(store, wanted)
        assert (steps_of(again), again.stores[0].adopted) == ((), ())
        assert applied(store, again).recorded == ()
        assert whole(harness, store) == after
        store.close()

    holds()


def test_the_way_does_not_matter(make: NewHarness) -> None:
    @FEW
    @given(wants(), wants())
    def holds(first: Want, second: Want) -> None:
        through, straight = make(), make()
        store, other = through.open(), straight.open()
        reconciled(store, first.declarations(through, store))
        wanted = second.declarations(through, store, before=first)
        reconciled(store, wanted)
        reconciled(other, second.declarations(straight, other, before=first))
        assert managed(store, wanted) == managed(other, wanted)
        store.close()
        other.close()

    holds()


def test_what_is_not_ours_is_never_changed(make: NewHarness) -> None:
    @FEW
    @given(wants(), wants(), st.lists(st.sampled_from(POOL[6:]), unique=True, min_size=1))
    def holds(first: Want, second: Want, foreign: list[str]) -> None:
        harness = make()
        store = harness.open()
        by_hand(store, [declared(store, key, harness.build(key)) for key in foreign])
        terms = terms_of(store.config)
        theirs = {terms.address("m", key) for key in foreign}
        keys = [f"{address.kind}/{address.key}" for address in theirs]
        before = [live(store)[key] for key in keys]
        reconciled(store, first.declarations(harness, store))
        reconciled(store, second.declarations(harness, store, before=first))
        assert [live(store)[key] for key in keys] == before
        assert theirs.isdisjoint(inventory(store.history()).recorded)
        store.close()

    holds()


def test_value_that_moved_since_the_plan_conflicts_and_nothing_is_written(make: NewHarness) -> None:
    @FEW
    @given(wants(), wants(), st.data())
    def holds(first: Want, second: Want, data: st.DataObject) -> None:
        harness = make()
        store = harness.open()
        reconciled(store, first.declarations(harness, store))
        plan = planned(store, second.declarations(harness, store, before=first))
        new = sorted({key for key, _ in second.listed} - {key for key, _ in first.listed})
        assume(new)
        key = data.draw(st.sampled_from(new))
        by_hand(store, [*first.declarations(harness, store), declared(store, key, harness.build(key))])
        before = whole(harness, store)
        with pytest.raises(Conflict):
            applied(store, plan)
        assert whole(harness, store) == before
        store.close()

    holds()


def test_what_is_done_before_a_failing_disk_is_a_prefix_and_the_next_run_ends_it(make: NewHarness) -> None:
    @FEW
    @given(wants(), st.data())
    def holds(want: Want, data: st.DataObject) -> None:
        harness = make()
        store = harness.open()
        declarations = want.declarations(harness, store)
        plan = planned(store, declarations)
        place = data.draw(st.sampled_from([p for p in harness.places if p[:3] in {"fs.", "reg"}]))
        results: list[Outcome] = []
        with harness.failing(place), suppress(ReconcilerError):  # raised only before the first step
            results = [item.result.outcome for item in applied(store, plan).items]
        done = results.count(Outcome.APPLIED)
        assert Outcome.APPLIED not in results[done:]
        store.recover()
        reconciled(store, declarations)
        assert steps_of(planned(store, declarations)) == ()
        store.close()

    holds()


def test_deleted_is_no_more_than_what_was_planned_to_go(make: NewHarness) -> None:
    @FEW
    @given(wants(), wants())
    def holds(first: Want, second: Want) -> None:
        harness = make()
        store = harness.open()
        reconciled(store, first.declarations(harness, store))
        before = found(store)
        plan = planned(store, second.declarations(harness, store, before=first))
        emptied = {
            change.address for step in steps_of(plan) for change in step.changes if change.after is None
        }
        applied(store, plan)
        assert before - found(store) <= emptied
        store.close()

    holds()
