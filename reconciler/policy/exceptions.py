"""What exceptions do to findings, and what is said of the exceptions themselves.

An exception in force turns the findings that it is for into warnings which name its owner, its reason and
its end; it never removes one. A waiver is for its rule, allow-empty for what would empty a scope,
break-glass for a version tag that moves. Approved deletes are counted by the budgets themselves; holds and
suspensions never reach a rule, because what they hold does not change.

One that is expired has no effect and is named; one in force that changes nothing is named too, so that it
is removed before somebody else relies on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from reconciler.governance import ExceptionType, Exemption, instant
from reconciler.model import Address, Finding, Severity
from reconciler.policy.actions import DELETE
from reconciler.policy.budgets import counted
from reconciler.policy.facts import Facts

_FOR: Final[Mapping[ExceptionType, frozenset[str]]] = MappingProxyType(
    {
        ExceptionType.ALLOW_EMPTY: frozenset({"empty-desired", "last-release"}),
        ExceptionType.BREAK_GLASS: frozenset({"tag-immutable"}),
    }
)
"""The rules whose findings an exception is for by its type; a waiver names its own."""

HOLDS: Final = (ExceptionType.HOLD, ExceptionType.SUSPENSION)
_NAMED: Final = 3


def _is_for(exemption: Exemption, finding: Finding) -> bool:
    rules = _FOR.get(exemption.type, frozenset())
    named = exemption.type is ExceptionType.WAIVER and exemption.rule == finding.rule
    return (named or finding.rule in rules) and exemption.covers(finding.subject)


def excused(
    findings: Iterable[Finding], exceptions: Sequence[Exemption]
) -> tuple[list[Finding], frozenset[Exemption]]:
    """The findings after the exceptions in force, and the exceptions that one of them fell under."""
    used: set[Exemption] = set()
    result: list[Finding] = []
    for finding in findings:
        exemption = next((one for one in exceptions if _is_for(one, finding)), None)
        if exemption is None or finding.code == "E_POLICY_ERROR":
            result.append(finding)
            continue
        used.add(exemption)
        result.append(
            replace(finding, severity=Severity.WARN, message=f"{finding.message}; {allowed_by(exemption)}")
        )
    return result, frozenset(used)


def allowed_by(exemption: Exemption) -> str:
    """Who allowed something until when, and why, for a message."""
    return (
        f"{exemption.type.value} by {exemption.owner} until {instant(exemption.expires)}: {exemption.reason} "
        f"({exemption.place})"
    )


def about_exceptions(facts: Facts, used: frozenset[Exemption]) -> Iterator[Finding]:
    """What is said of the exceptions: what is held, which ones are expired, which change nothing."""
    held = [address for store in facts.stores for address in store.plan.held]
    approved = _approved(facts)
    for one in facts.guards.exceptions:
        if one.expired(facts.now):
            yield _said(one, "exception-expired", f"it expired at {instant(one.expires)} and has no effect")
        elif one.type in HOLDS:
            kept = [address for address in held if one.covers(str(address))]
            yield _holding(one, kept) if kept else _unused(one)
        elif one not in used and one not in approved:
            yield _unused(one)


def _approved(facts: Facts) -> frozenset[Exemption]:
    """The approvals whose exact number of deletes this plan has."""
    gone = [address for store in facts.stores for address in counted(store, DELETE)]
    return frozenset(
        one
        for one in facts.guards.in_force(ExceptionType.APPROVED_DELETES, facts.now)
        if sum(one.covers(str(address)) for address in gone) == one.count
    )


def _holding(one: Exemption, kept: Sequence[Address]) -> Finding:
    names = ", ".join(map(str, kept[:_NAMED]))
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    sentence = f"{names}{more} stay as they are live; held by {one.owner} until {instant(one.expires)}"
    return _said(one, one.type.value, f"{sentence}: {one.reason}", fix="remove it when git may decide again")


def _unused(one: Exemption) -> Finding:
    return _said(one, "exception-unused", "this plan needs no such exception")


def _said(
    one: Exemption, rule: str, message: str, *, fix: str = "remove it, or renew it in a change"
) -> Finding:
    what = f"{one.type.value} of {one.rule}" if one.rule else one.type.value
    return Finding(
        rule=rule,
        severity=Severity.WARN,
        subject=one.subject,
        message=f"{what}, owner {one.owner}: {message}",
        place=one.place,
        code="E_EXCEPTION",
        fix=fix,
    )
