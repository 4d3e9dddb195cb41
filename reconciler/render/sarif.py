"""SARIF 2.1.0: findings and input errors as annotations on the lines of desired state.

One run of one tool. A rule of the plan is a reporting descriptor under its own id, with the sentence that
says what it protects; an error of the input is one under its code. Every result stands on a line of the
repository: a finding about something that no line declares any more (a removal) stands on the line that
declares its store. What is about no file at all (an option, a store that is down) is a notification of the
invocation. The part of a message that others wrote is escaped; SARIF's own link syntax
(section 3.11.6) is taken out of it. At most `RESULTS` results, which is what code scanning takes; the
rest is counted in a notification.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from reconciler.canonical import sha256_hex
from reconciler.errors import Problem, escaped
from reconciler.model import Place, Severity
from reconciler.plan import Plan
from reconciler.policy import RULES
from reconciler.render.text import advisory_line

VERSION: Final = "2.1.0"
RESULTS: Final = 5_000
_LEVELS: Final = {Severity.DENY: "error", Severity.WARN: "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """One annotation."""

    rule: str
    level: str
    text: str
    subject: str
    path: str
    line: int
    column: int = 0
    fix: str = ""

    def to_json(self, index: int) -> dict[str, Any]:
        """The result, at the place of its rule in the list of rules."""
        region = {"startLine": self.line or 1} | ({"startColumn": self.column} if self.column else {})
        place = {"artifactLocation": {"uri": quote(self.path), "uriBaseId": "SRCROOT"}, "region": region}
        location: dict[str, Any] = {"physicalLocation": place}
        if self.subject:
            location["logicalLocations"] = [{"fullyQualifiedName": _plain(self.subject)}]
        identity = f"{self.rule} {self.subject} {self.path}"
        return {
            "ruleId": self.rule,
            "ruleIndex": index,
            "level": self.level,
            "message": self.message(),
            "locations": [location],
            "partialFingerprints": {"reconciler/v1": sha256_hex(identity.encode("utf-8", "replace"))},
        }

    def message(self) -> dict[str, str]:
        """The sentence and what to do."""
        return {"text": _plain(self.text + (f". Fix: {self.fix}" if self.fix else ""), 2_000)}


def plan_sarif(plan: Plan, *, version: str) -> dict[str, Any]:
    """The findings of a plan."""
    stores = {part.config.name: part.config.place for part in plan.stores}
    results = []
    for finding in plan.findings:
        place = finding.place or stores.get(finding.subject.partition("/")[0]) or Place("", 0, 0)
        results.append(
            _Result(
                rule=finding.rule,
                level=_LEVELS[finding.severity],
                text=f"{finding.subject}: {finding.message}",
                subject=finding.subject,
                path=place.path,
                line=place.line,
                column=place.column,
                fix=finding.fix,
            )
        )
    if plan.advisory:
        text = advisory_line(plan.advisory)
        results.append(_Result(rule="advisory", level="note", text=text, subject="", path="", line=0))
    described = {name: (rule.__doc__ or name).strip().partition("\n")[0] for name, rule in RULES.items()}
    return _log(results, described, version)


def problems_sarif(problems: Iterable[Problem], *, version: str) -> dict[str, Any]:
    """Errors of the input; one that names an option or nothing at all has no line."""
    results = [
        _Result(
            rule=problem.code,
            level="error",
            text=problem.message + (f"; got {escaped(problem.got)}" if problem.got is not None else ""),
            subject="",
            path=problem.path if problem.line or _is_file(problem.path) else "",
            line=problem.line,
            column=problem.column,
            fix=problem.fix,
        )
        for problem in problems
    ]
    return _log(results, {}, version)


def _log(results: Sequence[_Result], described: Mapping[str, str], version: str) -> dict[str, Any]:
    placed = [result for result in results if result.path]
    shown = placed[:RESULTS]
    rules = dict(described) | {r.rule: described.get(r.rule, r.rule) for r in shown}
    index = {rule: number for number, rule in enumerate(rules)}
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "reconciler",
                "version": version,
                "semanticVersion": version,
                "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in rules.items()],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The root of the repository."}}},
        "results": [result.to_json(index[result.rule]) for result in shown],
    }
    told = [_notification(r.level, r.rule, r.message()) for r in results if not r.path]
    if len(placed) > len(shown):
        told.append(_notification("warning", "more", {"text": f"{len(placed) - len(shown)} more results"}))
    run["invocations"] = [
        {
            "executionSuccessful": not any(note["level"] == "error" for note in told),
            "toolExecutionNotifications": told[:RESULTS],
        }
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": VERSION,
        "runs": [run],
    }


def _notification(level: str, code: str, message: Mapping[str, str]) -> dict[str, Any]:
    return {"level": level, "descriptor": {"id": code}, "message": dict(message)}


def _is_file(path: str) -> bool:
    """Whether a place without a line is a file of the repository, not an option or a location."""
    return "/" in path and ":" not in path and not path.startswith(("-", "/", "."))


def _plain(text: str, limit: int = 400) -> str:
    """Text without the brackets of an embedded link, and without the braces of a placeholder."""
    return escaped(text, limit).translate(str.maketrans("[]{}", "()()"))
