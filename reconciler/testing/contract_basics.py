"""The part of the contract suite about reading and writing; see `reconciler.testing.contract`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reconciler.errors import Conflict, Exit, InvalidInput, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.ledger import inventory
from reconciler.model import Address, Depth, Selection, Step
from reconciler.stores.port import Store
from reconciler.testing.harness import (
    BY_GIT,
    HUMAN_110,
    HUMAN_111,
    MOUSE_110,
    Build,
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
    removed_alias,
    shown,
    steps_of,
)
from reconciler.testing.terms import terms_of

ODD = ("too long", "dot segments", "capital letter", "missing part", "foreign digit")


class Suite:
    """What all parts of the suite share."""

    @pytest.fixture
    def harness(self) -> Harness:
        """The live system under test; every adapter's subclass gives its own."""
        raise NotImplementedError


class Reading(Suite):
    """Observing: complete, sorted, consistent, free of effects, and never wrong about absence."""

    def test_store_without_anything_is_empty(self, harness: Harness) -> None:
        store = harness.open()
        assert (live(store), recorded(store)) == ({}, 0)

    def test_store_that_does_not_exist_is_an_error(self, harness: Harness) -> None:
        with pytest.raises(Unavailable) as refused:
            list(harness.open(create=False).snapshot(Selection()))
        assert refused.value.code == "E_STORE_MISSING"

    def test_address_that_does_not_exist_is_left_out(self, harness: Harness) -> None:
        store = harness.open()
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        unknown = terms_of(store.config).address(store.config.name, HUMAN_111)
        assert list(store.snapshot(Selection(addresses=frozenset({unknown})))) == []

    def test_selection_returns_only_what_was_asked(self, harness: Harness) -> None:
        store = harness.open()
        reconciled(store, [declared(store, d, harness.build(d)) for d in (HUMAN_110, MOUSE_110)])
        wanted = terms_of(store.config).address(store.config.name, MOUSE_110)
        seen = list(store.snapshot(Selection(addresses=frozenset({wanted}))))
        assert [observed.address for observed in seen] == [wanted]

    def test_many_datasets_come_back_sorted_by_address(self, harness: Harness) -> None:
        store = harness.open()
        builds = {d: harness.build(d) for d in (f"{r}/mus_musculus/GRCm39" for r in (9, 10, 1, 100, 99, 11))}
        reconciled(store, [declared(store, dataset, build) for dataset, build in builds.items()])
        seen = [observed.address for observed in store.snapshot(Selection())]
        wanted = [Address.parse(f"{store.config.name}/{name}") for name in shown(store, builds)]
        assert seen == sorted(wanted)

    def test_observing_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        wishes = [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, HUMAN_110)]
        before = harness.fingerprint()
        planned(store, wishes)
        assert (harness.fingerprint(), recorded(store)) == (before, 0)
        reconciled(store, wishes)
        before, records = harness.fingerprint(), recorded(store)
        for depth in Depth:
            live(store, depth=depth)
        store.revision()
        assert (harness.fingerprint(), recorded(store)) == (before, records)

    def test_revision_moves_with_a_head_and_only_then(self, harness: Harness) -> None:
        store = harness.open()
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        first = store.revision()
        assert store.revision() == first
        by_hand(store, [declared(store, MOUSE_110, harness.build(MOUSE_110))])
        assert store.revision() != first

    def test_damaged_content_is_reported_as_such(self, harness: Harness) -> None:
        store = harness.open()
        human = harness.build(HUMAN_110)
        reconciled(
            store,
            [declared(store, HUMAN_110, human), declared(store, MOUSE_110, harness.build(MOUSE_110))],
        )
        harness.damage(HUMAN_110)
        seen = {o.address for o in store.snapshot(Selection(depth=Depth.DEEP)) if o.problems}
        assert seen == {terms_of(store.config).content(store.config.name, HUMAN_110, human.digest)}

    def test_failed_read_raises_and_is_never_empty(self, harness: Harness) -> None:
        store = harness.open()
        build = harness.build(HUMAN_110)
        reconciled(store, [declared(store, HUMAN_110, build)])
        with harness.unreadable(), pytest.raises(Unavailable):
            list(harness.open().snapshot(Selection()))
        assert live(store) == shown(store, {HUMAN_110: build})


class Writing(Suite):
    """Committing: what was planned and nothing else, all or nothing, recorded."""

    def test_create_update_and_delete_come_back_as_written(self, harness: Harness) -> None:
        store = harness.open()
        human, newer = harness.build(HUMAN_110), harness.build(HUMAN_111)
        wishes = [declared(store, HUMAN_110, human), declared(store, HUMAN_111, newer)]
        reconciled(store, [*wishes, declared_alias(store, HUMAN_110)])
        both = {HUMAN_110: human, HUMAN_111: newer}
        assert live(store) == shown(store, both, pointer=HUMAN_110)
        wishes = [removed(store, HUMAN_110), wishes[1], declared_alias(store, HUMAN_111)]
        reconciled(store, wishes)
        kept = {HUMAN_110: human}
        assert live(store) == shown(store, {HUMAN_111: newer}, hidden=kept, pointer=HUMAN_111)
        reconciled(store, [wishes[0], wishes[1], removed_alias(store)])
        assert live(store) == shown(store, {HUMAN_111: newer}, hidden=kept)

    def test_what_a_listing_carries_besides_is_kept_as_written(self, harness: Harness) -> None:
        store = harness.open()
        terms, build = terms_of(store.config), harness.build(HUMAN_110)
        for extra in terms.extras:
            reconciled(store, [declared(store, HUMAN_110, build, extra)])
            address = terms.address(store.config.name, HUMAN_110)
            (seen,) = store.snapshot(Selection(addresses=frozenset({address})))
            wanted = {slot: value for slot, value in terms.listed(build.digest, extra).items() if value}
            assert seen.slots == wanted

    def test_second_handle_sees_what_the_first_wrote(self, harness: Harness) -> None:
        first, second = harness.open(), harness.open()
        reconciled(first, [declared(first, HUMAN_110, harness.build(HUMAN_110))])
        assert live(second) == live(first)
        assert list(second.history()) == list(first.history())

    def test_second_plan_is_empty_and_applying_it_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        wishes = [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, HUMAN_110)]
        report = reconciled(store, wishes)
        assert report.exit_code is Exit.DONE
        before = harness.fingerprint()
        again = planned(store, wishes)
        assert (steps_of(again), again.stores[0].adopted) == ((), ())
        assert applied(store, again).recorded == ()
        assert (harness.fingerprint(), recorded(store)) == (before, 1)

    def test_adoption_adds_a_record_and_nothing_else(self, harness: Harness) -> None:
        store = harness.open()
        wish = declared(store, HUMAN_110, harness.build(HUMAN_110))
        by_hand(store, [wish])
        before = harness.fingerprint()
        plan = planned(store, [wish])
        implied = terms_of(store.config).implied([wish])
        assert (plan.empty, plan.summary()["adopted"]) == (True, len(implied))
        applied(store, plan)
        assert (harness.fingerprint(), recorded(store)) == (before, 2)
        assert inventory(store.history()).owns(wish.address)

    def test_commit_of_nothing_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        assert store.commit((), BY_GIT) == ()
        assert (dict(harness.fingerprint()), recorded(store)) == (dict(harness.fresh().fingerprint()), 0)

    def test_entry_of_a_dataset_that_was_never_published_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        wish = declared(store, MOUSE_110, harness.build(MOUSE_110))
        steps = terms_of(store.config).without_content(steps_of(planned(store, [wish])))
        self._refused(harness, store, steps)

    def test_alias_of_a_dataset_that_is_not_listed_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        self._refused(harness, store, steps_of(planned(store, [declared_alias(store, MOUSE_110)])))

    def test_removal_of_the_aliased_dataset_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        if not terms_of(store.config).pointer_holds:
            pytest.skip("in this store a pointer may name what is not listed")
        reconciled(
            store,
            [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, HUMAN_110)],
        )
        plan = planned(store, [removed(store, HUMAN_110), declared_alias(store, HUMAN_110)])
        self._refused(harness, store, steps_of(plan))

    def test_source_with_another_manifest_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        good = harness.build(HUMAN_110)
        wish = declared(store, HUMAN_110, Build(good.source, "sha256:" + "0" * 64))
        self._refused(harness, store, steps_of(planned(store, [wish])))

    def test_source_that_cannot_be_read_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        wish = declared(store, HUMAN_110, Build("builds/nowhere", harness.build(HUMAN_110).digest))
        self._refused(harness, store, steps_of(planned(store, [wish])))

    def test_last_of_two_steps_that_is_refused_stops_the_first(self, harness: Harness) -> None:
        store = harness.open()
        plan = planned(
            store,
            [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, MOUSE_110)],
        )
        self._refused(harness, store, steps_of(plan))

    @staticmethod
    def _refused(harness: Harness, store: Store, steps: Sequence[Step]) -> None:
        before, records = dict(harness.fingerprint()), recorded(store)
        assert steps
        with pytest.raises(ReconcilerError) as refused:
            store.commit(steps, BY_GIT)
        assert not isinstance(refused.value, Conflict | OutcomeUnknown)
        assert (dict(harness.fingerprint()), recorded(store)) == (before, records)

    def test_unmanaged_things_stay_byte_equal(self, harness: Harness) -> None:
        store = harness.open()
        mouse = harness.build(MOUSE_110)
        by_hand(store, [declared(store, MOUSE_110, mouse)])
        before = harness.fingerprint()
        wish = declared(store, HUMAN_110, harness.build(HUMAN_110))
        reconciled(store, [wish, declared_alias(store, HUMAN_110)])
        reconciled(store, [removed(store, HUMAN_110), removed_alias(store)])
        after = harness.fingerprint()
        changed = {name for name in before if before[name] != after.get(name)}
        assert not [name for name in changed if "mus_musculus" in name]
        seen = live(store)
        assert {name: seen[name] for name in shown(store, {MOUSE_110: mouse})} == shown(
            store, {MOUSE_110: mouse}
        )

    def test_names_at_the_limits_survive(self, harness: Harness) -> None:
        store = harness.open()
        longest = terms_of(store.config).longest
        build = harness.build(longest)
        reconciled(store, [declared(store, longest, build), declared_alias(store, longest)])
        assert live(harness.open()) == shown(store, {longest: build}, pointer=longest)

    @pytest.mark.parametrize("odd", ODD)
    def test_names_beyond_the_limits_are_refused_before_any_write(self, harness: Harness, odd: str) -> None:
        store = harness.open()
        build = harness.build(HUMAN_110)
        with pytest.raises(InvalidInput):
            reconciled(store, [declared(store, terms_of(store.config).odd[odd], build)])
        assert (dict(harness.fingerprint()), recorded(store)) == (dict(harness.fresh().fingerprint()), 0)
