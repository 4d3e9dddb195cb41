"""Rules for accounts of the federation.

A rule says in its docstring what it protects.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.governance import Headroom
from reconciler.model import Finding, Severity
from reconciler.points import KIND, allowance_of, points_of
from reconciler.policy.facts import Facts, StoreFacts


def points_headroom(facts: Facts) -> Iterator[Headroom]:
    """What the writes to each account cost, beside what it may spend in an hour and in a day."""
    for store in facts.stores:
        if store.plan.config.kind == KIND:
            points, allowed = points_of(store.plan.changes), allowance_of(store.plan.config)
            yield Headroom("points of an hour", store.name, points, allowed.hour)
            yield Headroom("points of a day", store.name, points, allowed.day)


def rate_budget(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """A run never costs more points than its account may spend in a day, and says so if it takes hours."""
    plan = store.plan
    if plan.config.kind != KIND:
        return
    points, allowed = points_of(plan.changes), allowance_of(plan.config)
    if points > allowed.day:
        yield Finding(
            rule="rate-budget",
            severity=Severity.DENY,
            subject=plan.config.name,
            message=f"the writes cost {points} points, and the account may spend {allowed.day} in a day",
            place=plan.config.place,
            code="E_RATE_BUDGET",
            fix="promote in parts over several days, or set pointsPerDay to what the server allows",
        )
    elif points > allowed.hour:
        yield Finding(
            rule="rate-budget",
            severity=Severity.WARN,
            subject=plan.config.name,
            message=f"the writes cost {points} points, and the account may spend {allowed.hour} in an hour: "
            f"apply will wait for about {(points - 1) // allowed.hour} h",
            place=plan.config.place,
            code="E_RATE_BUDGET",
            fix="leave it running, or set pointsPerHour to what the server allows",
        )
