"""The memory store's own behaviour: what the shared contract does not tell through the port."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.errors import Corrupt, InvalidInput, OutcomeUnknown, ReconcilerError, Unavailable
from reconciler.model import Address, Change, Depth, Outcome, Place, Selection, Step, StoreConfig
from reconciler.stores.memory import SHAPE, forget, memory_state, open_store
from reconciler.stores.memory_contents import Alias
from reconciler.stores.port import ADAPTERS, Surroundings, adapter
from reconciler.testing.harness import (
    BY_GIT,
    BY_HAND,
    HUMAN_110,
    HUMAN_111,
    declared,
    declared_alias,
    live,
    planned,
    reconciled,
    recorded,
    steps_of,
)
from reconciler.testing.memory_harness import Killed, MemoryHarness

HUMAN = Address("m", "dataset", HUMAN_110)


def test_every_kind_of_store_offers_a_shape_and_a_way_to_open_it() -> None:
    assert sorted(ADAPTERS) == ["atproto", "memory", "registry", "serving"]
    for kind in ADAPTERS:
        assert adapter(kind).SHAPE.permanent
    with pytest.raises(InvalidInput) as refused:
        adapter("registry2")
    assert (refused.value.code, refused.value.problems[0].got) == ("E_STORE_KIND", "registry2")


def test_memory_store_plans_as_the_serving_store() -> None:
    assert adapter("memory").SHAPE is SHAPE is adapter("serving").SHAPE


def test_state_lives_under_its_name_until_it_is_forgotten() -> None:
    settings = {"name": "forgotten", "create": True}
    config = StoreConfig(name="m", kind="memory", settings=settings, place=Place("stores.yaml", 1, 1))
    memory_state("forgotten").sources["builds/x"] = "sha256:" + "1" * 64
    open_store(config, Surroundings(root=Path()))
    assert memory_state("forgotten").sources
    forget("forgotten")
    assert not memory_state("forgotten").sources


def test_heads_depth_leaves_the_artifacts_out() -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
    assert live(store, depth=Depth.HEADS) == {f"dataset/{HUMAN_110}": {"entry": "listed"}}


def test_catalog_that_the_ledger_recorded_and_that_is_gone_is_corrupt() -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
    harness.state.contents = replace(harness.state.contents, catalog=None)
    for act in (lambda: list(store.snapshot(Selection())), lambda: list(store.commit([any_step()], BY_HAND))):
        with pytest.raises(Corrupt) as refused:
            act()
        assert refused.value.code == "E_CATALOG_MISSING"


def any_step(slot: str = "entry", after: str = "listed", kind: str = "dataset") -> Step:
    change = Change(Address("m", kind, HUMAN_111), slot, None, after)
    return Step(id="s", store="m", unit="catalog", changes=(change,))


@pytest.mark.parametrize(
    "step", [any_step("colour"), any_step(kind="tag"), any_step(after="listed at a b"), any_step("binding")]
)
def test_step_that_the_store_cannot_do_is_invalid_and_writes_nothing(step: Step) -> None:
    harness = MemoryHarness()
    with pytest.raises(InvalidInput):
        harness.open().commit([step], BY_GIT)
    assert (recorded(harness.open()), live(harness.open())) == (0, {})


def test_touched_ledger_stops_reading_and_writing() -> None:
    harness = MemoryHarness()
    store = harness.open()
    wishes = [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, HUMAN_110)]
    plan = planned(store, wishes)
    reconciled(store, wishes[:1])
    intent, outcome = harness.state.ledger[0]
    harness.state.ledger[0] = (intent.replace(b'"test"', b'"text"'), outcome)
    for act in (lambda: list(store.history()), lambda: list(store.commit(steps_of(plan), BY_GIT))):
        with pytest.raises(Corrupt) as refused:
            act()
        assert refused.value.code == "E_LEDGER_CHAIN"


def test_fault_while_the_intent_is_written_writes_nothing() -> None:
    harness = MemoryHarness()
    store = harness.open()
    plan = planned(store, [declared(store, HUMAN_110, harness.build(HUMAN_110))])
    with harness.broken(1, OSError(errno.ENOSPC, "no space left")), pytest.raises(Unavailable):
        store.commit(steps_of(plan), BY_GIT)
    assert (recorded(store), live(store)) == (0, {})


def test_fault_while_the_outcome_is_written_leaves_the_run_open_and_unknown() -> None:
    harness = MemoryHarness()
    store = harness.open()
    wishes = [declared(store, HUMAN_110, harness.build(HUMAN_110))]
    with harness.broken(4, OSError(errno.EIO, "input/output error")):
        results = store.commit(steps_of(planned(store, wishes)), BY_GIT)
    assert [result.outcome for result in results] == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert [record.results for record in store.history()] == [None]
    assert [result.outcome for result in store.recover() or ()] == [Outcome.APPLIED, Outcome.APPLIED]
    assert steps_of(planned(store, wishes)) == ()


def killed_before_the_alias() -> MemoryHarness:
    """A run that stopped with its catalog written and its alias not."""
    harness = MemoryHarness()
    store = harness.open()
    plan = planned(
        store, [declared(store, HUMAN_110, harness.build(HUMAN_110)), declared_alias(store, HUMAN_110)]
    )
    with pytest.raises(Killed), harness.killed(4):
        store.commit(steps_of(plan), BY_GIT)
    return harness


def test_killed_run_is_finished_by_recover() -> None:
    harness = killed_before_the_alias()
    store = harness.open()
    assert "alias/latest" not in live(store)
    assert [result.outcome for result in store.recover() or ()] == [Outcome.APPLIED] * 3
    assert live(store)["alias/latest"] == {"dataset": HUMAN_110, "binding": "catalog"}
    assert store.recover() is None


def test_killed_run_is_finished_by_the_next_commit() -> None:
    harness = killed_before_the_alias()
    store = harness.open()
    wishes = [declared(store, HUMAN_111, harness.build(HUMAN_111))]
    store.commit(steps_of(planned(store, wishes)), BY_HAND)
    assert [record.run.by for record in store.history() if record.results] == ["git", "hand"]
    assert live(store)["alias/latest"] == {"dataset": HUMAN_110, "binding": "catalog"}


@pytest.mark.parametrize("again", ["recover", "commit"])
def test_killed_run_that_another_writer_went_through_is_closed_as_diverged(again: str) -> None:
    harness = killed_before_the_alias()
    contents = harness.state.contents
    harness.state.contents = replace(contents, aliases={"latest": Alias(HUMAN_111, "sha256:" + "0" * 64)})
    store = harness.open()
    step = Step(id="s", store="m", unit="catalog", changes=(Change(HUMAN, "entry", "listed", None),))
    with pytest.raises(Corrupt) as refused:
        _ = store.recover() if again == "recover" else store.commit([step], BY_HAND)
    assert refused.value.code == "E_DIVERGED"
    (record,) = store.history()
    assert [result.outcome for result in record.results or ()] == [
        Outcome.APPLIED,
        Outcome.APPLIED,
        Outcome.DIVERGED,
    ]
    assert store.recover() is None


def test_run_that_still_cannot_be_finished_stays_unknown() -> None:
    harness = killed_before_the_alias()
    store = harness.open()
    with harness.broken(2, OSError(errno.EIO, "input/output error")), pytest.raises(OutcomeUnknown):
        store.recover()
    assert store.recover() is not None


def test_recovery_without_its_source_fails_and_starts_nothing_more() -> None:
    harness = MemoryHarness()
    store = harness.open()
    build = harness.build(HUMAN_110)
    with pytest.raises(Killed), harness.killed(2):
        store.commit(steps_of(planned(store, [declared(store, HUMAN_110, build)])), BY_GIT)
    harness.state.sources.clear()
    assert [result.outcome for result in store.recover() or ()] == [Outcome.FAILED, Outcome.NOT_STARTED]
    assert live(store) == {}


def test_message_of_a_refusal_names_what_was_found() -> None:
    harness = MemoryHarness()
    store = harness.open()
    wish = declared(store, HUMAN_110, harness.build(HUMAN_110))
    steps = steps_of(planned(store, [wish]))
    store.commit(steps, BY_HAND)
    with pytest.raises(ReconcilerError) as refused:
        store.commit(steps[1:], BY_HAND)
    assert str(refused.value) == (
        "E_CONFLICT m/dataset/110/homo_sapiens/GRCh38: its entry is not what the plan saw (absent); "
        "got listed; fix: plan again"
    )
