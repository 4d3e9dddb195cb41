"""Which findings are shown where there are very many of them: a few of each rule, and how many more.

A plan that would take away everything says so once for every thing. A reader needs to see each rule that
speaks, not the first rule a thousand times; `--output json` holds them all. Decides nothing but that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from reconciler.model import Finding


class Shortlist(NamedTuple):
    """The findings that are shown, in their order, and how many of each rule are not, by `severity rule`."""

    shown: tuple[Finding, ...]
    rest: Counter[str]


def shortlist(findings: Sequence[Finding], each: int) -> Shortlist:
    """At most so many findings of each rule and severity."""
    counts: Counter[str] = Counter()
    shown = []
    for finding in findings:
        name = kind_of(finding)
        counts[name] += 1
        if counts[name] <= each:
            shown.append(finding)
    return Shortlist(tuple(shown), Counter({name: n - each for name, n in counts.items() if n > each}))


def kind_of(finding: Finding) -> str:
    """What findings are counted by."""
    return f"{finding.severity.value} {finding.rule}"
