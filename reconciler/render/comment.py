"""The reviewer's answer: one comment body about a plan, short enough to be posted whatever the plan holds.

    <!-- reconciler:plan -->                 whose comment it is, so that the same one is updated
    <!-- body sha256:… intent sha256:… -->   whether it has to be
    ### Plan: 1 to create, 1 to update, 0 to delete
    findings, denials first · the changes, scope by scope, largest first · what is inside · the steps

The largest change comes first: scopes by how much they lose, move and gain; in a scope removals, then
moves, then additions. Scopes without a change are left out. Whatever does not fit is counted by what it
is, never dropped in silence. Equal plans give equal bodies. A body has at most `LIMIT` bytes, well under
the 65,536 characters that a comment may have, for any number of changes and any text in them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from reconciler.canonical import sha256_digest
from reconciler.contents import Inside
from reconciler.model import Address, Change, Finding, Place, Severity, Value
from reconciler.plan import Plan, StorePlan, by_address, verb
from reconciler.render.findings import kind_of, shortlist
from reconciler.render.guards import guards_lines
from reconciler.render.markdown import code, fitting, notes_lines, prose, value
from reconciler.render.text import advisory_line, inside_lines, plural

LIMIT: Final = 60_000
MARKER: Final = "<!-- reconciler:plan{scope} -->"

_FINDINGS_ROOM: Final = 14_000
_CHANGES_ROOM: Final = 17_000
_CONTENTS_ROOM: Final = 9_000
_GUARDS_ROOM: Final = 3_000
_SCOPES: Final = 20
_ROWS: Final = 100
_OF_EACH_RULE: Final = 8
_STEPS: Final = 12
_COUNTED: Final = 12

_NAME: Final = re.compile(r"[a-z0-9_-]+", re.ASCII)
_WEIGHT: Final = {"delete": 0, "update": 1, "create": 2}
_SIGN: Final = ("−", "~", "+")


@dataclass(frozen=True, slots=True)
class _Row:
    """What happens to one address, over all steps."""

    address: Address
    verbs: tuple[str, ...]
    before: Value | None
    after: Value | None
    weight: int
    place: Place | None
    name: str = ""

    def line(self) -> str:
        sign, place = _SIGN[self.weight], code(str(self.place)) if self.place else ""
        name = f"{code(self.name)} " if self.name else ""
        return (
            f"| {sign} {', '.join(self.verbs)} | {name}{code(self.address.key)} | {value(self.before)} "
            f"| {value(self.after)} | {place} |"
        )


@dataclass(frozen=True, slots=True)
class _Scope:
    """The changes of one kind of thing in one store, largest first."""

    store: str
    kind: str
    rows: Sequence[_Row]

    @property
    def size(self) -> tuple[int, int, int, str, str]:
        """Sorts the scope that loses most first."""
        lost, moved, gained = (sum(row.weight == weight for row in self.rows) for weight in (0, 1, 2))
        return (-lost, -moved, -gained, self.store, self.kind)


def plan_comment(plan: Plan, *, scope: str = "") -> str:
    """The comment about a plan.

    Args:
        plan: what to show.
        scope: tells the comments of several plans about one change apart, such as the stores selected.
    """
    parts = (
        [_title(plan)],
        _advisory(plan),
        _findings(plan.findings),
        _changes(plan),
        _contents(plan.contents),
        notes_lines(plan.notes),
        _steps(plan),
        _guards(plan),
        ["", _closing(plan)],
    )
    body = "\n".join(line for part in parts for line in part)
    marker = MARKER.format(scope=f" {' '.join(_NAME.findall(scope))}"[:400].rstrip())
    digest = sha256_digest(body.encode("utf-8"))
    return f"{marker}\n<!-- body {digest} intent {plan.intent} -->\n{body}"


def _title(plan: Plan) -> str:
    summary = plan.summary()
    denials = sum(finding.severity is Severity.DENY for finding in plan.findings)
    verdict = f" – **{plural(denials, 'denial')}**" if denials else ""
    if plan.empty:
        adopted = f", adopts {summary['adopted']}" if summary["adopted"] else ""
        return f"### Plan: nothing to do{adopted}{verdict}"
    counts = ", ".join(f"{summary[name]} to {name}" for name in ("create", "update", "delete"))
    return f"### Plan: {counts}{verdict}"


def _advisory(plan: Plan) -> list[str]:
    return ["", f"> **{prose(advisory_line(plan.advisory))}**"] if plan.advisory else []


def _findings(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    shown, rest = shortlist(findings, _OF_EACH_RULE)
    lines = fitting((_finding(finding) for finding in shown[:_ROWS]), _FINDINGS_ROOM)
    rest.update(kind_of(finding) for finding in shown[len(lines) :])
    return ["", f"**{plural(len(findings), 'finding')}**", "", *lines, *_counted(rest, "- ")]


def _finding(finding: Finding) -> str:
    place = f" – {code(str(finding.place))}" if finding.place else ""
    fix = f" Fix: {prose(finding.fix, 200)}." if finding.fix else ""
    return (
        f"- **{finding.severity.value}** {code(finding.rule)} {code(finding.subject)}: "
        f"{prose(finding.message)}.{fix}{place}"
    )


def _counted(rest: Counter[str], lead: str = "") -> list[str]:
    """What was left out, by what it is."""
    if not rest:
        return []
    most = rest.most_common()
    shown = [f"{count} {code(name, 80)}" for name, count in most[:_COUNTED]]
    others = sum(count for _, count in most[_COUNTED:])
    shown += [f"{others} others"] if others else []
    return [f"{lead}… and {sum(rest.values())} more: {', '.join(shown)}"]


def _changes(plan: Plan) -> list[str]:
    scopes = sorted((s for part in plan.stores for s in _scopes(part)), key=lambda scope: scope.size)
    lines: list[str] = []
    room = _CHANGES_ROOM
    for number, scope in enumerate(scopes[:_SCOPES]):
        shown = _scope(scope, room // (min(len(scopes), _SCOPES) - number))
        room -= sum(len(line.encode("utf-8")) + 1 for line in shown)
        lines += shown
    rest = Counter(", ".join(row.verbs) for scope in scopes[_SCOPES:] for row in scope.rows)
    return [*lines, *([""] if rest else []), *_counted(rest)]


def _scopes(part: StorePlan) -> Iterable[_Scope]:
    changed: dict[Address, list[tuple[str, list[Change]]]] = {}
    for step in part.steps:
        for address, changes in by_address(step.changes).items():
            changed.setdefault(address, []).append((verb(part.shape, changes), changes))
    kinds: dict[str, list[_Row]] = {}
    for address, moves in changed.items():
        first = moves[0][1][0]
        weights = [_WEIGHT[action] for _, changes in moves for c in changes for action in c.actions]
        row = _Row(
            address=address,
            verbs=tuple(dict.fromkeys(name for name, _ in moves)),
            before=first.before,
            after=first.after,
            weight=weights[0] if len(set(weights)) == 1 else _WEIGHT["update"],
            place=part.places.get(address),
            name=part.names.get(address, ""),
        )
        kinds.setdefault(address.kind, []).append(row)
    return (_Scope(part.config.name, kind, rows) for kind, rows in kinds.items())


def _scope(scope: _Scope, room: int) -> list[str]:
    head = [
        "",
        f"**{code(f'{scope.store}/{scope.kind}')}** – {plural(len(scope.rows), 'change')}",
        "",
        "| change | what | before | after | declared |",
        "|---|---|---|---|---|",
    ]
    first = nsmallest(_ROWS, scope.rows, key=lambda row: (row.weight, row.address))
    rows = fitting((row.line() for row in first), room - sum(len(line) + 4 for line in head) - 400)
    shown = {row.address for row in first[: len(rows)]}
    rest = Counter(", ".join(row.verbs) for row in scope.rows if row.address not in shown)
    if not rows:
        head = head[:2]
    return [*head, *rows, *([""] if rest else []), *_counted(rest)]


def _contents(contents: Sequence[Inside]) -> list[str]:
    """What is inside of the values above."""
    if not contents:
        return []
    blocks = (
        "\n".join(
            [f"- {code(str(item.address))}", *(f"  - {prose(line, 400)}" for line in inside_lines(item))]
        )
        for item in contents
    )
    shown = fitting(blocks, _CONTENTS_ROOM)
    more = len(contents) - len(shown)
    return ["", "**What is inside**", "", *shown, *([f"- … and {more} more"] if more else [])]


def _steps(plan: Plan) -> list[str]:
    steps = [step for part in plan.stores for step in part.steps]
    if not steps:
        return []
    shown = [code(step.id, 80) for step in steps[:_STEPS]]
    if len(steps) > _STEPS:
        shown.append(f"{len(steps) - _STEPS} more")
    return ["", f"{plural(len(steps), 'step')}, in this order: {' → '.join(shown)}"]


def _guards(plan: Plan) -> list[str]:
    """What may not be removed any more or may be again, and what judged the plan."""
    protection = [(address, on) for part in plan.stores for address, on in part.protection]
    told = [f"- {'protects' if on else 'no longer protects'} {code(str(a))}" for a, on in protection[:_STEPS]]
    if len(protection) > _STEPS:
        told.append(f"- … and {len(protection) - _STEPS} more")
    lines = told + fitting((f"- {prose(line, 500)}" for line in guards_lines(plan)), _GUARDS_ROOM)
    return ["", *lines] if lines else []


def _closing(plan: Plan) -> str:
    summary = plan.summary()
    depths = ", ".join(sorted({part.depth.value for part in plan.stores})) or "nothing"
    return (
        f"{summary['noop']} unchanged, adopted: {summary['adopted']}, observed: {depths}. "
        f"Commit {code(plan.commit[:12])}, policy {value(plan.policy)}.\n\n"
        f"intent {code(plan.intent)}"
    )
