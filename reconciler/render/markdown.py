"""Markdown for pull-request comments and job summaries, bounded in length.

Everything that may come from a pull request is escaped twice: as text of unknown origin, and as
Markdown (inside code spans, with back-ticks taken out).
"""

from __future__ import annotations

from reconciler.apply import ApplyReport
from reconciler.drift import DriftReport
from reconciler.errors import escaped
from reconciler.model import Value
from reconciler.plan import Plan, by_address, verb
from reconciler.render.text import plural, short

_ROWS = 100


def code(text: str) -> str:
    """Text as a code span that cannot be left."""
    return "`" + escaped(text, 160).replace("`", "'").replace("|", "¦") + "`"


def value(content: Value | None) -> str:
    """A value as `short` shows it, which escapes it, as a code span that cannot be left."""
    return "`" + short(content).replace("`", "'").replace("|", "¦") + "`"


def plan_markdown(plan: Plan) -> str:
    """A table of changes and findings, the counts, and the intent."""
    rows = [
        f"| {verb(part.shape, changes)} | {code(str(address))} | {value(changes[0].before)} "
        f"| {value(changes[0].after)} |"
        for part in plan.stores
        for step in part.steps
        for address, changes in by_address(step.changes).items()
    ]
    summary = plan.summary()
    counts = ", ".join(f"{count} {name}" for name, count in summary.items())
    lines = ["### Plan", "", counts, ""]
    if rows:
        lines += ["| change | address | before | after |", "|---|---|---|---|", *rows[:_ROWS]]
        if len(rows) > _ROWS:
            lines.append(f"\n… and {len(rows) - _ROWS} more")
    else:
        lines.append("Nothing to do.")
    if plan.findings:
        lines += ["", f"**{plural(len(plan.findings), 'finding')}**", ""]
        lines += [
            f"- **{f.severity.value}** {code(f.rule)} {code(f.subject)}: {escaped(f.message, 300)}"
            + (f" ({code(str(f.place))})" if f.place else "")
            for f in plan.findings[:_ROWS]
        ]
    lines += ["", f"intent {code(plan.intent)}"]
    return "\n".join(lines)


def apply_markdown(report: ApplyReport) -> str:
    """A table of steps and outcomes."""
    rows = [
        f"| {code(item.store)} | {code(item.step.id)} | {item.result.outcome.value} "
        f"| {value(item.result.receipt or None)} |"
        for item in report.items[:_ROWS]
    ]
    if not rows:
        return "### Apply\n\nNothing to do."
    return "\n".join(["### Apply", "", "| store | step | outcome | receipt |", "|---|---|---|---|", *rows])


def drift_markdown(report: DriftReport) -> str:
    """A table of what is not in sync, and the counts."""
    counts = ", ".join(f"{count} {name}" for name, count in report.summary.items() if count)
    lines = ["### Drift", "", f"{counts or 'nothing declared'} (depth: {report.depth.value})", ""]
    if report.items:
        lines += ["| verdict | what | address |", "|---|---|---|"]
        lines += [f"| {i.verdict} | {i.what} | {code(str(i.address))} |" for i in report.items[:_ROWS]]
        if len(report.items) > _ROWS:
            lines.append(f"\n… and {len(report.items) - _ROWS} more")
    lines += [f"\n> {escaped(warning, 300)}" for warning in report.warnings]
    return "\n".join(lines)
