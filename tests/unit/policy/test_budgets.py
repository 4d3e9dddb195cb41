"""Budgets: absolute and in per cent, for each scope and for all together, for each kind of action."""

from __future__ import annotations

import pytest

from reconciler.governance import Budget, ExceptionType, Exemption, Guards
from reconciler.model import Declaration, Place
from reconciler.policy import StoreFacts
from reconciler.policy.budgets import headroom
from tests.unit.policy.scenes import (
    NOW,
    facts_of,
    gone,
    human,
    latest,
    listed,
    live,
    mouse,
    only,
    registry_facts,
    said,
    tagged,
    untagged,
    whole,
)

NONE = Budget(count=0, percent=0, total_percent=0, above=0)


def losing(number: int, of: int, *, name: str = "m") -> StoreFacts:
    """A store in which a plan takes so many of so many releases away, from below."""
    keys = [human(release) for release in range(101, 101 + of)]
    wishes: list[Declaration] = [gone(key, store=name) for key in keys[:number]]
    wishes += [listed(key, store=name) for key in keys[number:]]
    return facts_of(live(keys, name=name), wishes)


def budget(**numbers: int) -> Guards:
    return Guards(budgets={"delete": Budget(**numbers)})


def approval(count: int, subject: str = "m/dataset", expires: int = NOW + 1) -> Exemption:
    return Exemption(
        type=ExceptionType.APPROVED_DELETES,
        rule="",
        subject=subject,
        owner="genomics",
        reason="superseded",
        expires=expires,
        count=count,
        place=Place("desired/exceptions.yaml", 1, 1),
    )


@pytest.mark.parametrize(("number", "of"), [(1, 1), (5, 5), (5, 9), (10, 100), (9, 99)])
def test_deletes_within_the_default_budget(number: int, of: int) -> None:
    assert said("delete-budget", whole(losing(number, of))) == []


@pytest.mark.parametrize(
    ("number", "of", "subjects"),
    [
        (9, 9, ["m/dataset"]),  # where a share alone says nothing about so few
        (6, 59, ["m/dataset", "plan"]),
        (11, 100, ["m/dataset", "plan"]),
    ],
)
def test_deletes_beyond_the_default_budget(number: int, of: int, subjects: list[str]) -> None:
    found = said("delete-budget", whole(losing(number, of)))
    assert found == [("deny", subject, "E_DELETE_BUDGET") for subject in subjects]


def test_many_small_scopes_add_up() -> None:
    stores = [losing(5, 20, name=f"m{number}") for number in range(5)]
    facts = whole(*stores)
    assert said("delete-budget", facts) == [("deny", "plan", "E_DELETE_BUDGET")]
    assert only("delete-budget", facts).message == (
        "the plan would take away 25 of 100 in all scopes, 10 are within the budget"
    )
    assert said("delete-budget", whole(*stores[:2])) == []  # 10 of 40: a share of so few means nothing


def test_twenty_scopes_that_each_lose_29_of_100_are_denied_in_each_and_together() -> None:
    stores = [losing(29, 100, name=f"m{number:02}") for number in range(20)]
    assert said("delete-budget", whole(*stores)) == [
        *(("deny", f"m{number:02}/dataset", "E_DELETE_BUDGET") for number in range(20)),
        ("deny", "plan", "E_DELETE_BUDGET"),
    ]
    generous = whole(*stores, guards=budget(percent=30))
    assert said("delete-budget", generous) == [("deny", "plan", "E_DELETE_BUDGET")]


def test_policy_without_allowance_denies_the_first_delete() -> None:
    facts = whole(losing(1, 3), guards=budget(count=0, percent=0))
    assert said("delete-budget", facts) == [("deny", "m/dataset", "E_DELETE_BUDGET")]
    assert only("delete-budget", facts).message == (
        "the plan would take away 1 of 3, 0 are within the budget"
    )


@pytest.mark.parametrize("subject", ["m", "m/dataset", "m/dataset/1*"])
def test_exact_number_approves(subject: str) -> None:
    guards = Guards(exceptions=(approval(40, subject),))
    assert said("delete-budget", whole(losing(40, 100), guards=guards)) == []


@pytest.mark.parametrize(
    "exemption",
    [approval(39), approval(41), approval(40, "other"), approval(40, expires=NOW)],
    ids=["too few", "too many", "another subject", "expired"],
)
def test_anything_but_the_exact_number_in_force_does_not(exemption: Exemption) -> None:
    guards = Guards(exceptions=(exemption,))
    assert [f[1] for f in said("delete-budget", whole(losing(40, 100), guards=guards))] == [
        "m/dataset",
        "plan",
    ]


def test_approval_of_one_scope_is_none_of_another() -> None:
    stores = [losing(9, 9, name="a"), losing(9, 9, name="b")]
    guards = Guards(exceptions=(approval(9, "a/dataset"),))
    assert said("delete-budget", whole(*stores, guards=guards)) == [("deny", "b/dataset", "E_DELETE_BUDGET")]


def test_creates_and_adoptions_are_free() -> None:
    keys = [human(number) for number in range(101, 161)]
    store = facts_of(live(keys[:20]), [listed(key) for key in keys], others=keys)
    guards = Guards(budgets=dict.fromkeys(("delete", "update", "retarget"), NONE))
    facts = whole(store, guards=guards)
    assert [said(f"{action}-budget", facts) for action in ("delete", "update", "retarget")] == [[], [], []]


def test_moved_alias_is_a_retarget_and_nothing_else() -> None:
    store = facts_of(
        live([human(110), mouse(110)], human(110)), [latest(mouse(110))], others=[human(110), mouse(110)]
    )
    guards = Guards(budgets=dict.fromkeys(("delete", "update", "retarget"), NONE))
    facts = whole(store, guards=guards)
    assert said("retarget-budget", facts) == [
        ("deny", "m/alias", "E_RETARGET_BUDGET"),
        ("deny", "plan", "E_RETARGET_BUDGET"),
    ]
    assert [said(f"{action}-budget", facts) for action in ("delete", "update")] == [[], []]


def test_changed_entry_is_an_update() -> None:
    key = human(110)
    wish = listed(key)
    repaired = Declaration(
        wish.address, {**wish.slots, "diffs": ("derived/diff.json",)}, wish.place, wish.source
    )
    facts = whole(facts_of(live([key]), [repaired]), guards=Guards(budgets={"update": NONE}))
    assert said("update-budget", facts)[0] == ("deny", "m/dataset", "E_UPDATE_BUDGET")


def test_yank_counts_as_a_delete_and_its_end_is_free() -> None:
    held = {"1.0.0": 1, "1.1.0": 2}
    none = budget(count=0, percent=0)
    yank = [tagged("1.0.0", 1, yanked="yanked"), tagged("1.1.0", 2)]
    assert said("delete-budget", whole(registry_facts(held, yank), guards=none)) == [
        ("deny", "r/tag", "E_DELETE_BUDGET")
    ]
    back = [tagged("1.0.0", 1), tagged("1.1.0", 2)]
    assert said("delete-budget", whole(registry_facts(held, back, yanked=["1.0.0"]), guards=none)) == []


def test_latest_of_a_registry_follows_and_is_not_counted() -> None:
    held = {"1.0.0": 1, "1.1.0": 2, "latest": 2}
    wishes = [tagged("1.0.0", 1), untagged("1.1.0")]
    guards = Guards(budgets={"retarget": NONE})
    assert said("retarget-budget", whole(registry_facts(held, wishes), guards=guards)) == []


def test_headroom_is_what_the_plan_uses_of_each_budget() -> None:
    keys = [human(number) for number in range(101, 161)]
    store = facts_of(live(keys, keys[-1]), [gone(keys[0]), *(listed(key) for key in keys[1:])])
    guards = Guards(budgets={"delete": Budget(), "retarget": Budget(count=1)})
    assert [tuple(room) for room in headroom(whole(store, guards=guards))] == [
        ("delete", "m/alias", 0, 5),
        ("delete", "m/dataset", 1, 6),
        ("delete", "all scopes", 1, 6),
        ("retarget", "m/alias", 0, 1),
        ("retarget", "m/dataset", 0, 6),
        ("retarget", "all scopes", 0, 6),
    ]
