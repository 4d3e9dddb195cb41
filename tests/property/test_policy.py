"""Properties of policy: what is denied writes nothing, evidence only allows, and only safe orders pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.apply import apply_plan, denied
from reconciler.cli.surveys import surveyed
from reconciler.diff import difference
from reconciler.errors import Denied, LimitExceeded, Unavailable
from reconciler.governance import (
    Budget,
    ExceptionType,
    Exemption,
    Freeze,
    Governance,
    Guards,
    Ownership,
    Pins,
    PromotionRules,
)
from reconciler.ledger import inventory
from reconciler.model import (
    NOTHING,
    Address,
    Declaration,
    Depth,
    Desired,
    Finding,
    Place,
    Selection,
    Severity,
    Step,
)
from reconciler.plan import Plan, store_plan
from reconciler.policy import Facts, StoreFacts, evaluate
from reconciler.policy.lines import touched
from reconciler.policy.order import safe_order
from reconciler.stores.memory import SHAPE
from reconciler.stores.memory_contents import Contents, after_step
from reconciler.stores.port import Store
from reconciler.testing.harness import BY_GIT, declared, planned, reconciled, recorded, removed, steps_of
from reconciler.testing.memory_harness import Killed, MemoryHarness
from reconciler.testing.strategies import POOL, Wish, wishes

NOW = 1_800_000_000


class Scene(NamedTuple):
    """A store after a first wish, and everything that judges the way to a second one."""

    harness: MemoryHarness
    store: Store
    wishes: tuple[Declaration, ...]
    facts: Facts
    plan: Plan


def budgets() -> st.SearchStrategy[Budget]:
    number = st.integers(0, 6)
    return st.builds(Budget, count=number, percent=number, total_percent=number, above=number)


def exemptions() -> st.SearchStrategy[Exemption]:
    return st.builds(
        Exemption,
        type=st.just(ExceptionType.APPROVED_DELETES),
        rule=st.just(""),
        subject=st.sampled_from(["m", "m/dataset", "m/dataset/9/*", "other"]),
        owner=st.just("o"),
        reason=st.just("r"),
        expires=st.sampled_from([NOW, NOW + 1]),
        count=st.integers(0, 5),
        place=st.just(Place("e.yaml", 1, 1)),
    )


FREEZE = Freeze(name="f", reason="r", stores=frozenset(), starts=NOW - 1, ends=NOW + 1)


@st.composite
def guards(draw: st.DrawFn) -> Guards:
    names = st.sampled_from(["delete", "update", "retarget"])
    truth = st.booleans()
    governance = Governance(
        promotion=PromotionRules(in_manifest=draw(truth), in_pins=draw(truth), append_only=draw(truth)),
        rollback_depth=draw(st.none() | st.integers(0, 3)),
        release_lines=draw(st.integers(0, 3)),
    )
    return Guards(
        budgets=draw(st.dictionaries(names, budgets())),
        freezes=draw(st.sampled_from([(), (), (FREEZE,)])),
        protected=draw(st.sampled_from([(), ("m/dataset/110/*",), ("m/alias/latest",)])),
        owners=draw(st.sampled_from([(), (Ownership(pattern="desired*", owners=frozenset({"o"})),)])),
        governance=governance,
        exceptions=tuple(draw(st.lists(exemptions(), max_size=2))),
    )


def scene_of(first: Wish, second: Wish, judges: Guards, ids: frozenset[str]) -> Scene:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    wanted = tuple(second.declarations(harness, store, before=first))
    return judged(harness, store, wanted, judges, ids)


def judged(
    harness: MemoryHarness,
    store: Store,
    wanted: tuple[Declaration, ...],
    judges: Guards,
    ids: Iterable[str] = (),
) -> Scene:
    ours = inventory(store.history())
    found = difference(wanted, store.snapshot(Selection()), ours, shape=SHAPE, everything_ours=False)
    part = store_plan(store.config, SHAPE, found, depth=Depth.MANIFESTS)
    moved = touched(part, found.observed)
    plain = StoreFacts(plan=part, difference=found, inventory=ours, touched=moved)
    known = surveyed(plain, store, lambda _name: store)
    desired = Desired(
        commit="c" * 40,
        commit_time=1,
        author="a",
        stores={},
        declarations=wanted,
        scopes={("m", "dataset"): Place("desired.yaml", 1, 1)},
    )
    facts = Facts(
        desired=desired,
        guards=judges,
        stores=(known,),
        pins=Pins(datasets=frozenset(ids)),
        manifest_ids=frozenset(ids),
        now=NOW,
    )
    plan = Plan(stores=(part,), commit="c" * 40, policy="p", tool="t", findings=evaluate(facts))
    return Scene(harness, store, wanted, facts, plan)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    ids = frozenset(draw(st.lists(st.sampled_from(POOL), max_size=9)))
    return scene_of(draw(wishes()), draw(wishes()), draw(guards()), ids)


def denials(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    return {(f.rule, f.subject) for f in findings if f.severity is Severity.DENY}


# I20


@given(scenes())
def test_plan_that_policy_denies_writes_nothing(scene: Scene) -> None:
    assume(denied(scene.plan.findings) is not None)
    before, records = scene.harness.fingerprint(), recorded(scene.store)
    writes: list[str] = []
    scene.harness.state.before_write = writes.append
    with pytest.raises((Denied, LimitExceeded)):
        apply_plan(scene.plan, {"m": scene.store}, lambda _part: BY_GIT)
    assert (writes, scene.harness.fingerprint(), recorded(scene.store)) == ([], before, records)


def weaker(facts: Facts) -> list[Facts]:
    """The same plan with one piece of what speaks for it taken away."""
    judges = facts.guards
    without = [
        replace(
            facts, guards=replace(judges, exceptions=judges.exceptions[:at] + judges.exceptions[at + 1 :])
        )
        for at in range(len(judges.exceptions))
    ]
    for one in sorted(facts.manifest_ids):
        without.append(replace(facts, manifest_ids=facts.manifest_ids - {one}))
        without.append(replace(facts, pins=Pins(datasets=facts.pins.datasets - {one})))
    return without


@given(scenes())
def test_less_evidence_never_turns_a_denial_into_leave(scene: Scene) -> None:
    verdict = denials(scene.plan.findings)
    for facts in weaker(scene.facts):
        assert verdict <= denials(evaluate(facts))


@given(scenes(), guards())
def test_a_guard_that_is_added_never_turns_a_denial_into_leave(scene: Scene, more: Guards) -> None:
    judges = scene.facts.guards
    stricter = replace(
        judges,
        freezes=(*judges.freezes, *more.freezes),
        protected=(*judges.protected, *more.protected),
        governance=replace(
            judges.governance,
            release_lines=max(judges.governance.release_lines, more.governance.release_lines),
        ),
    )
    rules = {rule for rule, _ in denials(scene.plan.findings)}
    again = evaluate(replace(scene.facts, guards=stricter))
    assert rules <= {rule for rule, _ in denials(again)}


@given(scenes())
def test_findings_do_not_depend_on_the_order_of_what_is_known(scene: Scene) -> None:
    [store] = scene.facts.stores
    backwards = replace(
        store,
        survey=dict(reversed(list(store.survey.items()))),
        live_counts=dict(reversed(list(store.live_counts.items()))),
        editions=dict(reversed(list(store.editions.items()))),
    )
    assert evaluate(replace(scene.facts, stores=(backwards,))) == scene.plan.findings


# I19, R1 to R6


def dangling(contents: Contents) -> list[str]:
    """What a reader meets that leads to nothing, found without the program's own rules."""
    catalog = contents.catalog or {}
    names = [key for key, alias in contents.aliases.items() if alias.dataset not in catalog]
    return names + [key for key in catalog if key not in contents.published]


@given(wishes(), wishes(), st.data())
def test_every_prefix_of_a_plan_is_readable_and_the_walk_knows_which_orders_are_not(
    first: Wish, second: Wish, data: st.DataObject
) -> None:
    scene = scene_of(first, second, Guards(), frozenset())
    [store] = scene.facts.stores
    assert list(safe_order(scene.facts, store)) == []
    steps = [replace(step, after=()) for step in steps_of(scene.plan)]
    turned = data.draw(st.permutations(steps))
    found = list(safe_order(scene.facts, replace(store, plan=replace(store.plan, steps=tuple(turned)))))
    if not _readable(scene.harness, turned):
        assert found


def _readable(harness: MemoryHarness, steps: Sequence[Step]) -> bool:
    """Whether no moment of these steps dangles: the slots are set as the steps say, with no gate."""
    live: dict[Address, Mapping[str, object]] = {}
    for kind, key in harness.state.contents.keys():  # noqa: SIM118 - not a mapping
        live[Address("m", kind, key)] = dict(harness.state.contents.slots(kind, key))
    for step in steps:
        for change in step.changes:
            slots = {**live.get(change.address, NOTHING), change.slot: change.after}
            live[change.address] = {slot: value for slot, value in slots.items() if value is not None}
        for address, held in live.items():
            named = held.get("dataset")
            if address.kind == "dataset" and "entry" in held and "artifact" not in held:
                return False
            if named and "entry" not in live.get(Address("m", "dataset", str(named)), NOTHING):
                return False
    return True


@given(wishes(), wishes())
def test_store_that_does_a_prefix_and_stops_dangles_nowhere(first: Wish, second: Wish) -> None:
    scene = scene_of(first, second, Guards(), frozenset())
    contents = scene.harness.state.contents
    assert dangling(contents) == []
    for step in steps_of(scene.plan):
        contents = after_step(scene.harness.state, contents, step)
        assert dangling(contents) == []


# I22


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))
def test_deletes_are_those_that_were_approved_across_all_resumes(
    losing: int, approved: int, kill: int, again: int
) -> None:
    harness = MemoryHarness()
    store = harness.open()
    ids = sorted(POOL)
    first = [declared(store, key, harness.build(key)) for key in ids]
    reconciled(store, first)
    keys = set(harness.state.contents.catalog or {})
    wanted = [removed(store, key) for key in ids[:losing]]
    wanted += [declared(store, key, harness.build(key)) for key in ids[losing:]]
    wanted.sort(key=lambda wish: wish.address)
    exemption = Exemption(
        type=ExceptionType.APPROVED_DELETES,
        rule="",
        subject="m/dataset",
        owner="o",
        reason="r",
        expires=NOW + 1,
        count=approved,
        place=Place("e.yaml", 1, 1),
    )
    judges = Guards(budgets={"delete": Budget(count=2, percent=0)}, exceptions=(exemption,))
    for write in (kill, again, 99):
        try:
            with harness.killed(write):
                store.recover()
                scene = judged(harness, store, tuple(wanted), judges)
                findings = tuple(f for f in scene.plan.findings if f.rule == "delete-budget")
                apply_plan(replace(scene.plan, findings=findings), {"m": store}, lambda _part: BY_GIT)
        except Killed:
            store = harness.open()
        except LimitExceeded:
            break
    gone = keys - set(harness.state.contents.catalog or {})
    assert gone <= set(ids[:losing])
    assert len(gone) <= max(2, approved)
    if losing > 2 and approved != losing:
        assert gone == set()


@given(wishes())
def test_empty_or_unreadable_state_deletes_nothing(first: Wish) -> None:
    assume(first.listed)
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    before = harness.fingerprint()
    emptied = judged(harness, store, (), Guards())
    assert ("empty-desired", "m") in denials(emptied.plan.findings)
    with pytest.raises(Denied):
        apply_plan(emptied.plan, {"m": store}, lambda _part: BY_GIT)
    with harness.unreadable(), pytest.raises(Unavailable):
        judged(harness, store, (), Guards())
    assert harness.fingerprint() == before


# I14


@given(wishes(), wishes(), st.data())
def test_every_value_that_the_intent_covers_changes_it(
    first: Wish, second: Wish, data: st.DataObject
) -> None:
    harness = MemoryHarness()
    store = harness.open()
    reconciled(store, first.declarations(harness, store))
    plan = planned(store, second.declarations(harness, store, before=first))
    [part] = plan.stores
    assume(part.steps)
    at = data.draw(st.integers(0, len(part.steps) - 1))
    step = part.steps[at]
    change = data.draw(st.sampled_from(step.changes))
    others = [
        replace(step, id=f"{step.id} x"),
        replace(step, unit=f"{step.unit} x"),
        replace(step, after=(*step.after, "x")),
        replace(step, sources={**step.sources, change.address: "elsewhere"}),
        *(
            replace(step, changes=tuple(changed if one == change else one for one in step.changes))
            for changed in (
                change._replace(before="x"),
                change._replace(after="x"),
                change._replace(slot="x"),
                change._replace(address=change.address._replace(key="x")),
            )
        ),
    ]
    moved = [
        replace(plan, stores=(replace(part, steps=(*part.steps[:at], other, *part.steps[at + 1 :])),))
        for other in others
    ]
    moved += [
        replace(plan, policy="x"),
        replace(plan, stores=(replace(part, adopted=((change.address, {"x": "y"}),)),)),
        replace(plan, stores=(replace(part, config=replace(part.config, name="x")),)),
        replace(plan, stores=(replace(part, steps=part.steps[:at] + part.steps[at + 1 :]),)),
    ]
    intents = [one.intent for one in moved]
    assert plan.intent not in intents
    assert len(set(intents)) == len(intents)
