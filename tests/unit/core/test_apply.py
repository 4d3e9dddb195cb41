"""Apply: order, stopping, observing again, and how each end becomes an exit code."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from reconciler.apply import Applied, ApplyReport, apply_plan
from reconciler.errors import Conflict, Denied, Exit
from reconciler.ledger import inventory
from reconciler.model import Declaration, Finding, Outcome, Place, Severity, Step, StepResult
from reconciler.plan import Plan
from reconciler.stores.memory_contents import Alias
from reconciler.stores.port import Store
from reconciler.testing.faults import FaultyStore
from reconciler.testing.harness import (
    BY_GIT,
    HUMAN_110,
    HUMAN_111,
    applied,
    by_hand,
    declared,
    declared_alias,
    live,
    planned,
    recorded,
    removed,
    removed_alias,
)
from reconciler.testing.memory_harness import MemoryHarness


def report(*outcomes: Outcome) -> ApplyReport:
    step = Step(id="s", store="m", unit="catalog", changes=())
    return ApplyReport(
        tuple(Applied(store="m", step=step, result=StepResult(step="s", outcome=o)) for o in outcomes), ()
    )


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ((), Exit.DONE),
        ((Outcome.APPLIED, Outcome.APPLIED), Exit.DONE),
        ((Outcome.APPLIED, Outcome.FAILED, Outcome.NOT_STARTED), Exit.PARTLY),
        ((Outcome.APPLIED, Outcome.CONFLICT), Exit.PARTLY),
        ((Outcome.APPLIED, Outcome.UNKNOWN, Outcome.NOT_STARTED), Exit.UNKNOWN),
        ((Outcome.APPLIED, Outcome.UNKNOWN, Outcome.DIVERGED), Exit.CORRUPT),
        ((Outcome.FAILED, Outcome.NOT_STARTED), Exit.UNAVAILABLE),
    ],
)
def test_outcomes_decide_the_exit_code(outcomes: tuple[Outcome, ...], code: Exit) -> None:
    assert report(*outcomes).exit_code is code


def harness_with(*datasets: str) -> tuple[MemoryHarness, Store, Plan]:
    harness = MemoryHarness()
    store = harness.open()
    wishes = [declared(store, d, harness.build(d)) for d in datasets]
    return harness, store, planned(store, [*wishes, declared_alias(store, datasets[-1])])


def test_steps_run_in_plan_order_referenced_before_referencing() -> None:
    harness, store, plan = harness_with(HUMAN_110, HUMAN_111)
    writes: list[str] = []
    harness.state.before_write = writes.append
    applied(store, plan)
    assert writes == [
        "intent",
        f"publish {HUMAN_110}",
        f"publish {HUMAN_111}",
        "promote",
        "set alias latest",
        "outcome",
    ]


def test_the_way_down_is_the_reverse_and_deletes_come_last() -> None:
    harness, store, plan = harness_with(HUMAN_110, HUMAN_111)
    applied(store, plan)
    writes: list[str] = []
    harness.state.before_write = writes.append
    gone = [removed(store, d) for d in (HUMAN_110, HUMAN_111)]
    applied(store, planned(store, [*gone, removed_alias(store)]))
    assert writes == ["intent", "drop alias latest", "roll back", "outcome"]


def test_denied_plan_writes_nothing() -> None:
    _, store, plan = harness_with(HUMAN_110)
    finding = Finding(rule="r", severity=Severity.DENY, subject="s", message="no", code="E_R", fix="f")
    with pytest.raises(Denied) as refused:
        applied(store, replace(plan, findings=(finding,)))
    assert (str(refused.value), recorded(store), live(store)) == ("E_R: r: s: no; fix: f", 0, {})


def test_warning_does_not_stop_apply() -> None:
    _, store, plan = harness_with(HUMAN_110)
    finding = Finding(rule="r", severity=Severity.WARN, subject="s", message="hm")
    assert applied(store, replace(plan, findings=(finding,))).exit_code is Exit.DONE


def test_failed_step_stops_the_ones_after_it() -> None:
    harness, store, plan = harness_with(HUMAN_110)
    with harness.broken(3, OSError(errno.EIO, "input/output error")):
        done = applied(store, plan)
    assert [item.result.outcome for item in done.items] == [
        Outcome.APPLIED,
        Outcome.FAILED,
        Outcome.NOT_STARTED,
    ]
    assert (done.exit_code, done.recorded) == (Exit.PARTLY, ("m",))
    assert [r.outcome for r in next(iter(store.history())).results or ()] == [
        item.result.outcome for item in done.items
    ]


def test_what_is_adopted_becomes_ours_with_the_same_record() -> None:
    harness = MemoryHarness()
    store = harness.open()
    old = declared(store, HUMAN_110, harness.build(HUMAN_110))
    by_hand(store, [old])
    new = declared(store, HUMAN_111, harness.build(HUMAN_111))
    plan = planned(store, [old, new])
    done = apply_plan(plan, {"m": store}, lambda _part: BY_GIT)
    ours = inventory(store.history())
    assert (done.recorded, ours.owns(old.address), ours.owns(new.address)) == (("m",), True, True)


def test_writer_that_moves_what_was_written_makes_the_step_diverge() -> None:
    harness, store, plan = harness_with(HUMAN_110)

    def meddle(write: str) -> None:
        if write == "outcome":
            contents = harness.state.contents
            alias = Alias(HUMAN_111, contents.catalog_digest())
            harness.state.contents = replace(contents, aliases={"latest": alias})

    harness.state.before_write = meddle
    done = applied(store, plan)
    assert [item.result.outcome for item in done.items] == [
        Outcome.APPLIED,
        Outcome.APPLIED,
        Outcome.DIVERGED,
    ]
    (problem,) = done.items[-1].result.problems
    assert (problem.code, problem.path, problem.got) == ("E_DIVERGED", "m/alias/latest", HUMAN_111)
    assert done.exit_code is Exit.CORRUPT


def test_store_that_cannot_be_observed_again_leaves_the_outcome_unknown() -> None:
    _, store, plan = harness_with(HUMAN_110)
    done = applied(FaultyStore(store, failing_call=2), plan)
    assert {item.result.outcome for item in done.items} == {Outcome.UNKNOWN}
    assert done.exit_code is Exit.UNKNOWN


def two_stores() -> tuple[dict[str, MemoryHarness], dict[str, Store], Plan]:
    systems = {name: MemoryHarness(name) for name in ("first", "second")}
    stores: dict[str, Store] = {name: system.open() for name, system in systems.items()}
    parts = tuple(
        planned(store, [declared(store, HUMAN_110, systems[name].build(HUMAN_110))]).stores[0]
        for name, store in stores.items()
    )
    return systems, stores, Plan(stores=parts, commit="c" * 40, policy="", tool="test")


def test_store_that_refuses_first_raises() -> None:
    _, stores, plan = two_stores()
    by_hand(stores["first"], [declared_like(plan, "first")])
    with pytest.raises(Conflict):
        apply_plan(plan, stores, lambda _part: BY_GIT)
    assert recorded(stores["second"]) == 0


def test_store_that_refuses_later_is_reported_and_got_no_record() -> None:
    _, stores, plan = two_stores()
    by_hand(stores["second"], [declared_like(plan, "second")])
    done = apply_plan(plan, stores, lambda _part: BY_GIT)
    assert [(item.store, item.result.outcome) for item in done.items] == [
        ("first", Outcome.APPLIED),
        ("first", Outcome.APPLIED),
        ("second", Outcome.CONFLICT),
        ("second", Outcome.CONFLICT),
    ]
    assert (done.recorded, done.exit_code) == (("first",), Exit.PARTLY)


def test_after_a_failure_the_next_store_is_not_started() -> None:
    systems, stores, plan = two_stores()
    with systems["first"].failing("3rd write"):
        done = apply_plan(plan, stores, lambda _part: BY_GIT)
    assert [item.result.outcome for item in done.items] == [
        Outcome.APPLIED,
        Outcome.FAILED,
        Outcome.NOT_STARTED,
        Outcome.NOT_STARTED,
    ]
    assert (recorded(stores["second"]), done.recorded) == (0, ("first",))


def declared_like(plan: Plan, store: str) -> Declaration:
    """The wish that a plan's store part came from."""
    (part,) = [part for part in plan.stores if part.config.name == store]
    slots = {change.slot: change.after for change in part.changes if change.after is not None}
    address = next(iter(part.changes)).address
    source = part.steps[0].sources[address]
    return Declaration(address, slots, Place("desired.yaml", 1, 1), source=source)
