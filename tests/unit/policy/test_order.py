"""The independent walk over plans and over the ledger's record."""

from __future__ import annotations

from dataclasses import replace

from reconciler.ledger import Record
from reconciler.model import Address, Change, Outcome, Step, StepResult
from reconciler.policy import StoreFacts
from reconciler.policy.order import record_problems
from reconciler.stores.memory import SHAPE
from reconciler.stores.registry.order import SHAPE as REGISTRY
from reconciler.testing.harness import by_hand, declared, declared_alias, reconciled, removed
from reconciler.testing.memory_harness import MemoryHarness
from tests.unit.core.values import GIT, HAND, landed, record
from tests.unit.policy.scenes import (
    at,
    digest_of,
    facts_of,
    gone,
    human,
    latest,
    listed,
    live,
    manifest,
    only,
    registry_facts,
    said,
    tag,
    tagged,
    whole,
)


def up() -> StoreFacts:
    """A plan that publishes, promotes and moves latest."""
    return facts_of(
        live([human(110)], human(110)), [listed(human(110)), listed(human(111)), latest(human(111))]
    )


def down() -> StoreFacts:
    """A plan that moves latest and rolls back."""
    store = live([human(110), human(111)], human(111))
    return facts_of(store, [listed(human(110)), gone(human(111)), latest(human(110))])


def arranged(facts: StoreFacts, *names: str) -> StoreFacts:
    """The same plan with its steps in another order."""
    steps = {step.id.split(" ", maxsplit=1)[0]: replace(step, after=()) for step in facts.plan.steps}
    assert len(steps) == len(facts.plan.steps) == len(names)
    return replace(facts, plan=replace(facts.plan, steps=tuple(steps[name] for name in names)))


def test_plans_as_they_are_arranged_are_safe() -> None:
    assert said("order", whole(up(), down())) == []
    assert said("order", whole(registry_facts({"1.0.0": 1}, [tagged("1.0.0", 1)]))) == []


def test_entry_before_its_artifact_is_found() -> None:
    facts = whole(arranged(up(), "promote", "publish", "move"))
    assert said("order", facts) == [("deny", f"m/dataset/{human(111)}", "E_ORDER")]
    assert only("order", facts).message == (
        f"after 'promote' readers would follow it to m/dataset/{human(111)}, which has no artifact then"
    )


def test_alias_before_its_entry_is_found() -> None:
    facts = whole(arranged(up(), "publish", "move", "promote"))
    assert said("order", facts) == [("deny", "m/alias/latest", "E_ORDER")]


def test_roll_back_before_the_alias_moved_is_found() -> None:
    facts = whole(arranged(down(), "roll", "move"))
    assert said("order", facts) == [("deny", "m/alias/latest", "E_ORDER")]


def test_removal_before_a_create_is_found() -> None:
    store = live([human(110), human(111)], human(111))
    facts = facts_of(store, [gone(human(110)), listed(human(111)), listed(human(112)), latest(human(112))])
    turned = arranged(facts, "roll", "publish", "promote", "move")
    assert only("order", whole(turned)).message == (
        "after 'promote' something was made, although 'roll back' had taken something away"
    )


def test_step_before_one_that_it_follows_is_found() -> None:
    facts = up()
    publish, promote, move = facts.plan.steps
    turned = replace(facts, plan=replace(facts.plan, steps=(publish, replace(promote, after=("z",)), move)))
    assert only("order", whole(turned)).message == "after 'promote' its step would run before 'z'"


def test_change_that_does_not_begin_where_the_last_one_ended_is_found() -> None:
    facts = up()
    first = facts.plan.steps[0]
    [change] = first.changes
    wrong = replace(first, changes=(change._replace(before=digest_of("other")),))
    turned = replace(facts, plan=replace(facts.plan, steps=(wrong, *facts.plan.steps[1:])))
    assert "its artifact would be absent" in only("order", whole(turned)).message


def test_tag_whose_manifest_is_not_there_is_found() -> None:
    facts = registry_facts({"1.0.0": 1}, [tagged("1.1.0", 2)])
    known = {**facts.survey, Address("r", "manifest", manifest(2)): {}}
    assert said("order", whole(replace(facts, survey=known))) == [("deny", str(tag("1.1.0")), "E_ORDER")]


# The record.


def history(*steps: Step, by_git: bool = True) -> list[Record]:
    found: list[Record] = []
    for number, step in enumerate(steps, start=1):
        previous = found[-1].outcome_sha if found else None
        run = GIT if by_git else HAND
        found.append(record(run, (step,), landed(step.id), seq=number, previous=previous))
    return found


def one(name: str, *changes: Change) -> Step:
    return Step(id=name, store="m", unit=name, changes=changes)


def test_record_of_our_own_work_is_clean() -> None:
    harness = MemoryHarness()
    store = harness.open()
    by_hand(store, [declared(store, human(100), harness.build(human(100)))])
    for wishes in (
        [declared(store, human(110), harness.build(human(110)))],
        [
            declared(store, human(110), harness.build(human(110))),
            declared(store, human(111), harness.build(human(111))),
            declared_alias(store, human(111)),
        ],
        [
            declared(store, human(110), harness.build(human(110))),
            declared_alias(store, human(110)),
            removed(store, human(111)),
        ],
    ):
        reconciled(store, wishes)
    assert list(record_problems(SHAPE, store.history(), "m")) == []


def test_record_of_a_dangling_alias_is_found() -> None:
    entry = Change(at(human(111)), "entry", "listed", None)
    alias = Change(Address("m", "alias", "latest"), "dataset", human(110), human(111))
    problems = list(record_problems(SHAPE, history(one("roll back", entry), one("move alias", alias)), "m"))
    assert [(p.code, p.path) for p in problems] == [("E_ORDER", "m/alias/latest")]
    assert problems[0].message.startswith("record 2 of store m: after 'move alias' readers would follow it")


def test_record_of_replaced_bytes_is_found() -> None:
    published = Change(at(human(111)), "artifact", None, digest_of("a"))
    again = Change(at(human(111)), "artifact", None, digest_of("b"))
    problems = list(record_problems(SHAPE, history(one("publish", published), one("again", again)), "m"))
    assert [(p.code, p.path) for p in problems] == [("E_ORDER", f"m/dataset/{human(111)}")]


def test_step_that_did_not_land_is_not_part_of_the_record() -> None:
    entry = Change(at(human(111)), "entry", "listed", None)
    alias = Change(Address("m", "alias", "latest"), "dataset", human(110), human(111))
    failed = (StepResult(step="move alias", outcome=Outcome.FAILED),)
    first = history(one("roll back", entry))
    second = record(GIT, (one("move alias", alias),), failed, seq=2, previous=first[0].outcome_sha)
    third = record(GIT, (one("move alias", alias),), None, seq=3, previous=second.outcome_sha)
    assert list(record_problems(SHAPE, [*first, second, third], "m")) == []


def test_what_another_writer_did_in_between_is_not_ours_to_judge() -> None:
    first = Change(at(human(111)), "entry", "listed", None)
    later = Change(at(human(111)), "entry", "listed at elsewhere", "listed")
    alias = Change(Address("m", "alias", "latest"), "dataset", None, human(111))
    steps = [one("roll back", first), one("promote", later), one("set alias", alias)]
    assert list(record_problems(SHAPE, history(*steps, by_git=False), "m")) == []


def test_record_of_a_registry_is_walked_too() -> None:
    digest = manifest(1)
    unlink = Change(Address("m", "link", f"eth/main@{digest}"), "linked", "linked", None)
    name = Change(Address("m", "tag", "eth/main@1.0.0"), "manifest", None, digest)
    problems = list(record_problems(REGISTRY, history(one("unlink", unlink), one("tag", name)), "m"))
    assert [(p.code, p.path) for p in problems] == [("E_ORDER", "m/tag/eth/main@1.0.0")]


def test_version_that_named_another_manifest_before_is_found_in_the_record() -> None:
    version = Address("r", "tag", "eth/main@1.0.0")
    dev = Address("r", "tag", "eth/main@dev")
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    steps = (
        one("tag", Change(version, "manifest", None, first), Change(dev, "manifest", None, first)),
        one("move", Change(version, "manifest", first, second), Change(dev, "manifest", first, second)),
        one("untag", Change(version, "manifest", second, None)),
        one("tag again", Change(version, "manifest", None, first)),
    )
    problems = list(record_problems(REGISTRY, history(*steps), "r"))
    assert [(p.path, p.message) for p in problems] == [
        (str(version), f"record 2 of store r: its manifest was {first} before, and became {second}"),
        (str(version), f"record 4 of store r: its manifest was {second} before, and became {first}"),
    ]


def test_version_that_break_glass_let_move_is_no_problem_of_the_record() -> None:
    version = Address("r", "tag", "eth/main@1.0.0")
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    before, after = history(
        one("tag", Change(version, "manifest", None, first)),
        one("move", Change(version, "manifest", first, second)),
    )
    allowed = replace(after, run=replace(after.run, break_glass=((version, "the file was truncated"),)))
    assert list(record_problems(REGISTRY, (before, allowed), "r")) == []
