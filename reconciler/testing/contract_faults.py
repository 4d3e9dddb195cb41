"""The part of the contract suite about other writers, faults and capabilities (see `contract`)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.contents import Look
from reconciler.errors import Conflict, Exit, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.model import Declaration, Outcome, Step
from reconciler.plan import Plan
from reconciler.stores.port import Store, describer
from reconciler.testing.contract_basics import Suite
from reconciler.testing.faults import FaultyStore
from reconciler.testing.harness import (
    BY_GIT,
    BY_HAND,
    HUMAN_110,
    HUMAN_111,
    MOUSE_110,
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


class Concurrency(Suite):
    """Other writers: the loser knows, nothing is lost, and what is unrelated does not matter."""

    def test_stale_step_conflicts_and_writes_nothing(self, harness: Harness) -> None:
        store = harness.open()
        wishes = [declared(store, d, harness.build(d)) for d in (HUMAN_110, HUMAN_111)]
        reconciled(store, [*wishes, declared_alias(store, HUMAN_110)])
        stale = planned(store, [*wishes, removed_alias(store)])
        by_hand(harness.open(), [*wishes, declared_alias(store, HUMAN_111)])
        before, records = harness.fingerprint(), recorded(store)
        with pytest.raises(Conflict):
            applied(store, stale)
        assert (harness.fingerprint(), recorded(store)) == (before, records)

    def test_extra_of_a_listing_that_went_meanwhile_conflicts_and_writes_nothing(
        self, harness: Harness
    ) -> None:
        store = harness.open()
        build, extra = harness.build(HUMAN_110), terms_of(store.config).extras[0]
        by_hand(store, [declared(store, HUMAN_110, build)])
        steps = steps_of(planned(store, [declared(store, HUMAN_110, build, extra)]))
        by_hand(harness.open(), [removed(store, HUMAN_110)])
        before, records = harness.fingerprint(), recorded(store)
        with pytest.raises(Conflict):
            store.commit(steps, BY_HAND)
        assert (harness.fingerprint(), recorded(store)) == (before, records)

    def test_replayed_step_conflicts(self, harness: Harness) -> None:
        store = harness.open()
        plan = planned(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        applied(store, plan)
        before = harness.fingerprint()
        with pytest.raises(Conflict):
            applied(store, plan)
        assert (harness.fingerprint(), recorded(store)) == (before, 1)

    def test_wrong_base_of_a_unit_conflicts(self, harness: Harness) -> None:
        store = harness.open()
        by_hand(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        (step,) = steps_of(planned(store, [removed(store, HUMAN_110)]))
        based = Step(
            id=step.id, store=step.store, unit=step.unit, changes=step.changes, base="sha256:" + "0" * 64
        )
        before = harness.fingerprint()
        with pytest.raises(Conflict):
            store.commit([based], BY_HAND)
        assert harness.fingerprint() == before

    def test_unrelated_change_between_plan_and_apply_does_not_conflict(self, harness: Harness) -> None:
        store = harness.open()
        builds = {dataset: harness.build(dataset) for dataset in (HUMAN_110, MOUSE_110)}
        plan = planned(store, [declared(store, HUMAN_110, builds[HUMAN_110])])
        by_hand(harness.open(), [declared(store, MOUSE_110, builds[MOUSE_110])])
        assert applied(store, plan).exit_code is Exit.DONE
        assert live(store) == shown(store, builds)

    def test_related_write_injected_just_before_ours_conflicts(self, harness: Harness) -> None:
        store = harness.open()
        wish = declared(store, HUMAN_110, harness.build(HUMAN_110))
        other = FaultyStore(store, just_before_commit=lambda: by_hand(harness.open(), [wish]))
        with pytest.raises(Conflict):
            reconciled(other, [wish])
        assert recorded(store) == 1

    def test_unrelated_write_injected_just_before_ours_does_not_conflict(self, harness: Harness) -> None:
        store = harness.open()
        mouse = declared(store, MOUSE_110, harness.build(MOUSE_110))
        other = FaultyStore(store, just_before_commit=lambda: by_hand(harness.open(), [mouse]))
        report = reconciled(other, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        assert (report.exit_code, recorded(store)) == (Exit.DONE, 2)

    def test_of_many_writers_of_one_step_one_wins(self, harness: Harness) -> None:
        store = harness.open()
        plan = planned(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        start = threading.Barrier(8)

        def write(_number: int) -> str:
            handle = harness.open(lock_timeout=30.0)
            start.wait()
            try:
                return "won" if applied(handle, plan).exit_code is Exit.DONE else "failed"
            except Conflict:
                return "lost"

        with ThreadPoolExecutor(8) as pool:
            ends = sorted(pool.map(write, range(8)))
        assert (ends, recorded(store)) == (["lost"] * 7 + ["won"], 1)

    def test_writers_of_different_steps_all_land(self, harness: Harness) -> None:
        store = harness.open()
        datasets = [f"{release}/homo_sapiens/GRCh38" for release in range(100, 106)]
        builds = {dataset: harness.build(dataset) for dataset in datasets}
        plans = [planned(store, [declared(store, dataset, builds[dataset])]) for dataset in datasets]

        def write(plan: Plan) -> Exit:
            return applied(harness.open(lock_timeout=30.0), plan).exit_code

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(write, plans)) == {Exit.DONE}
        assert (live(store), recorded(store)) == (shown(store, builds), 6)

    def test_writer_waits_for_the_lock_and_then_says_who_was_faster(self, harness: Harness) -> None:
        impatient = harness.open(lock_timeout=0.0)
        if not impatient.capabilities.serialises_writers:
            pytest.skip("this store does not serialise its writers")
        plan = planned(impatient, [declared(impatient, HUMAN_110, harness.build(HUMAN_110))])
        with ThreadPoolExecutor(1) as pool:
            with harness.held():
                with pytest.raises(Conflict) as refused:
                    applied(impatient, plan)
                patient = harness.open(lock_timeout=30.0)
                waiting = pool.submit(applied, patient, plan)
                assert (refused.value.code, recorded(impatient)) == ("E_LOCKED", 0)
            assert waiting.result().exit_code is Exit.DONE


class Failure(Suite):
    """Faults: before or after but never between, and one more run converges."""

    def test_fault_at_any_call_leaves_before_or_after_and_the_next_run_converges(
        self, harness: Harness
    ) -> None:
        for call in range(1, 6):
            system = harness.fresh()
            store = system.open()
            wishes = [declared(store, HUMAN_110, system.build(HUMAN_110)), declared_alias(store, HUMAN_110)]
            faulty = FaultyStore(store, failing_call=call)
            before = system.fingerprint()
            try:
                reconciled(faulty, wishes)
            except Unavailable:
                assert system.fingerprint() == before
            reconciled(store, wishes)
            assert steps_of(planned(store, wishes)) == ()

    def test_fault_at_any_write_leaves_before_or_after_and_the_next_run_converges(
        self, harness: Harness
    ) -> None:
        untroubled = harness.fresh()
        store, wishes = _published(untroubled)
        reconciled(store, wishes)
        reached = [place for place in harness.places if self._troubled(harness.fresh(), place, untroubled)]
        assert len(reached) >= 3

    @staticmethod
    def _troubled(system: Harness, place: str, untroubled: Harness) -> bool:
        """Promote with a fault in one place; whether the fault was reached."""
        store, wishes = _published(system)
        before, after = dict(system.fingerprint()), dict(untroubled.fingerprint())
        with system.failing(place) as fault:
            outcomes = _outcomes(store, wishes)
            fired = fault.fired
        seen = dict(system.fingerprint())
        assert seen in (before, after) or Outcome.UNKNOWN in outcomes or Outcome.APPLIED in outcomes
        if outcomes == {Outcome.FAILED}:
            assert seen == before, place
        if outcomes == {Outcome.APPLIED}:
            assert seen == after, place
        fresh = system.open()
        fresh.recover()
        reconciled(fresh, wishes)
        assert dict(system.fingerprint()) == after, place
        plan = planned(fresh, wishes)
        assert (steps_of(plan), plan.stores[0].adopted) == ((), ()), place
        assert all(record.results is not None for record in fresh.history())
        return fired

    def test_lost_answer_is_unknown_and_the_next_plan_is_empty(self, harness: Harness) -> None:
        store = harness.open()
        wishes = [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, HUMAN_110)]
        with pytest.raises(OutcomeUnknown):
            reconciled(FaultyStore(store, loses_answer=True), wishes)
        assert steps_of(planned(store, wishes)) == ()

    def test_damaged_dataset_is_never_promoted(self, harness: Harness) -> None:
        store = harness.open()
        wish = declared(store, HUMAN_110, harness.build(HUMAN_110))
        steps = steps_of(planned(store, [wish]))
        terms = terms_of(store.config)
        store.commit(terms.only_content(steps), BY_HAND)
        harness.damage(HUMAN_110)
        before, records = harness.fingerprint(), recorded(store)
        with pytest.raises(ReconcilerError):
            store.commit(terms.without_content(steps), BY_GIT)
        assert (harness.fingerprint(), recorded(store)) == (before, records)

    def test_recover_has_nothing_to_do_after_a_finished_run(self, harness: Harness) -> None:
        store = harness.open()
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        assert store.recover() is None


def _published(system: Harness) -> tuple[Store, list[Declaration]]:
    """A store with a published dataset, and the wish to list it and to point latest at it."""
    store = system.open()
    wish = declared(store, HUMAN_110, system.build(HUMAN_110))
    content = terms_of(store.config).only_content(steps_of(planned(store, [wish])))
    store.commit(content, BY_HAND)
    return store, [wish, declared_alias(store, HUMAN_110)]


def _outcomes(store: Store, wishes: list[Declaration]) -> set[Outcome]:
    """What a run under a fault said of itself."""
    try:
        return {item.result.outcome for item in reconciled(store, wishes).items}
    except OutcomeUnknown:
        return {Outcome.UNKNOWN}
    except ReconcilerError:
        return {Outcome.FAILED}


class Declared(Suite):
    """The capabilities that an adapter declares are true."""

    def test_adapter_that_serialises_writers_makes_them_wait(self, harness: Harness) -> None:
        store = harness.open(lock_timeout=0.0)
        plan = planned(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        with harness.held():
            if store.capabilities.serialises_writers:
                with pytest.raises(Conflict):
                    applied(store, plan)
            else:
                assert applied(store, plan).exit_code is Exit.DONE

    def test_adapter_without_atomic_units_can_stop_between_two_of_them(self, harness: Harness) -> None:
        stopped_between = False
        for place in harness.places:
            system = harness.fresh()
            store = system.open()
            wish = declared(store, HUMAN_110, system.build(HUMAN_110))
            with system.failing(place):
                stopped_between |= {Outcome.APPLIED, Outcome.FAILED} <= _outcomes(store, [wish])
        assert stopped_between is not harness.open().capabilities.atomic_units

    def test_adapter_that_cannot_delete_content_refuses_to(self, harness: Harness) -> None:
        store = harness.open()
        build = harness.build(HUMAN_110)
        reconciled(store, [declared(store, HUMAN_110, build)])
        reconciled(store, [removed(store, HUMAN_110)])
        step = terms_of(store.config).deletion(store.config.name, HUMAN_110, build.digest)
        if store.capabilities.deletes_content:
            assert store.commit([step], BY_HAND)[0].outcome is Outcome.APPLIED
            assert live(store) == {}
        else:
            with pytest.raises(ReconcilerError):
                store.commit([step], BY_HAND)
            assert live(store) == shown(store, {}, hidden={HUMAN_110: build})

    def test_adapter_that_describes_looks_into_what_is_there_and_what_would_come(
        self, harness: Harness
    ) -> None:
        store = harness.open()
        looker = describer(store)
        assert (looker is not None) is store.capabilities.describes
        if looker is None:
            return
        build = harness.build(HUMAN_110)
        content = terms_of(store.config).looked(store.config.name, HUMAN_110, build.digest)
        coming, there = Look(content, build.digest, build.source), Look(content, build.digest, "")
        before = harness.fingerprint()
        found = dict(looker.describe((coming, there)))
        assert (bool(found[coming].facts), found[coming].problems) == (True, ())
        assert (found[there].facts, bool(found[there].problems)) == ({}, True)
        assert harness.fingerprint() == before
        reconciled(store, [declared(store, HUMAN_110, build)])
        assert dict(looker.describe((there,)))[there] == found[coming]

    def test_adapter_whose_writes_survive_shows_them_after_closing(self, harness: Harness) -> None:
        store = harness.open()
        assert store.capabilities.survives_reopen
        reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
        seen = live(store)
        store.close()
        assert live(harness.open()) == seen
