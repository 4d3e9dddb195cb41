"""A few findings of each rule are shown, and the others are counted."""

from __future__ import annotations

from reconciler.model import Finding, Severity
from reconciler.render.findings import shortlist


def finding(rule: str, number: int, severity: Severity = Severity.DENY) -> Finding:
    return Finding(rule=rule, severity=severity, subject=f"m/dataset/{number}", message="it goes")


def test_a_rule_that_says_much_hides_no_other_rule() -> None:
    many = [finding("last-release", number) for number in range(5)]
    warns = [finding("last-release", number, Severity.WARN) for number in range(2)]
    one = finding("order", 1)
    shown, rest = shortlist([*many, one, *warns], 2)
    assert shown == (*many[:2], one, *warns)
    assert rest == {"deny last-release": 3}


def test_few_findings_are_all_shown() -> None:
    few = [finding("order", number) for number in range(2)]
    assert shortlist(few, 2) == (tuple(few), {})
