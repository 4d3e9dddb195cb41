"""What writes to an account cost, and what a plan says of it."""

from __future__ import annotations

import pytest

from reconciler.apply import denied
from reconciler.diff import Difference
from reconciler.errors import Denied, Exit, LimitExceeded
from reconciler.governance import Guards, Pins
from reconciler.ledger import Inventory
from reconciler.model import (
    Address,
    Change,
    Depth,
    Desired,
    Finding,
    Place,
    Severity,
    Step,
    StoreConfig,
)
from reconciler.plan import StorePlan
from reconciler.points import points_of
from reconciler.policy.account import rate_budget
from reconciler.policy.facts import Facts, StoreFacts
from reconciler.stores.atproto.order import SHAPE

PLACE = Place("desired/stores.yaml", 7, 3)
HOURS = (
    "the writes cost 5001 points, and the account may spend 5000 in an hour: apply will wait for about 1 h"
)
DAY = "the writes cost {} points, and the account may spend {} in a day"


FACTS = Facts(
    desired=Desired(commit="c", commit_time=0, author="", stores={}, declarations=()),
    guards=Guards(),
    stores=(),
    pins=Pins(),
    manifest_ids=frozenset(),
    now=0,
)


def record(number: int, before: str | None, after: str | None) -> list[Change]:
    """A record that changes, and its name, which follows from it."""
    address = Address("public", "entry", f"e{number}")
    return [Change(address, "content", before, after), Change(address, "name", before, after)]


def plan_of(changes: list[Change], kind: str = "atproto", **settings: str) -> StorePlan:
    """A plan with one step."""
    config = StoreConfig(name="public", kind=kind, settings=settings, place=PLACE)
    step = Step(id="commit 1", store="public", unit="repository", changes=tuple(changes))
    return StorePlan(
        config=config,
        shape=SHAPE,
        steps=(step,),
        adopted=(),
        unchanged=0,
        newly_ours=0,
        depth=Depth.MANIFESTS,
    )


def facts_of(plan: StorePlan) -> StoreFacts:
    """What rules know of a plan."""
    return StoreFacts(plan=plan, difference=Difference(), inventory=Inventory({}), touched={})


def test_create_costs_three_update_two_and_delete_one_for_each_record() -> None:
    changes = [*record(1, None, "a"), *record(2, "a", "b"), *record(3, "a", None)]
    assert points_of(changes) == 6


@pytest.mark.parametrize(
    ("records", "settings", "said"),
    [
        (1_666, {}, []),
        (1_667, {}, [(Severity.WARN, HOURS)]),
        (11_667, {}, [(Severity.DENY, DAY.format(35001, 35000))]),
        (11_667, {"pointsPerHour": "40000", "pointsPerDay": "40000"}, []),
        (3, {"pointsPerDay": "8"}, [(Severity.DENY, DAY.format(9, 8))]),
    ],
)
def test_plan_says_what_is_over_the_budget_of_an_hour_or_a_day(
    records: int, settings: dict[str, str], said: list[tuple[Severity, str]]
) -> None:
    changes = [change for number in range(records) for change in record(number, None, "a")]
    findings = list(rate_budget(FACTS, facts_of(plan_of(changes, **settings))))
    assert [(finding.severity, finding.message) for finding in findings] == said
    found = {(finding.rule, finding.code, finding.place) for finding in findings}
    assert found <= {("rate-budget", "E_RATE_BUDGET", PLACE)}


def test_stores_of_other_kinds_have_no_points() -> None:
    assert (
        list(rate_budget(FACTS, facts_of(plan_of(record(1, None, "a"), kind="registry", pointsPerDay="1"))))
        == []
    )


def test_only_a_limit_that_denies_is_a_limit_and_with_anything_else_it_is_a_denial() -> None:
    budget = Finding(rule="b", severity=Severity.DENY, subject="s", message="m", code="E_RATE_BUDGET")
    other = Finding(rule="a", severity=Severity.DENY, subject="s", message="m", code="E_ALIAS_TARGET")
    refusal, mixed = denied((budget,)), denied((budget, other))
    assert isinstance(refusal, LimitExceeded)
    assert refusal.exit_code is Exit.LIMIT
    assert isinstance(mixed, Denied)
