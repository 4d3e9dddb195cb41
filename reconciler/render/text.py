"""Plain text for a terminal and a log: plans, applies, drift and history.

Says everything in the vocabulary of the model, one thing a line, largest unit first. Values of unknown
origin are escaped. Colour and width are the console's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.apply import ApplyReport
from reconciler.contents import Fact, Inside
from reconciler.drift import DriftItem, DriftReport
from reconciler.errors import escaped
from reconciler.governance import instant
from reconciler.ledger import Record
from reconciler.model import Change, Finding, Outcome, Severity, Slots, Value
from reconciler.plan import Plan, StorePlan, by_address, verb
from reconciler.render.findings import shortlist
from reconciler.render.guards import guards_lines
from reconciler.snapshot import Advisory

_SIGN = {"create": "+", "update": "~", "delete": "-"}
_SHOWN = 40
_DIGEST_SHOWN = 19
_ITEMS = 4
_OF_EACH_RULE = 20


def short(value: Value | None) -> str:
    """A value as shown to people: digests shortened, long lists counted, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, tuple):
        more = f", {len(value) - _ITEMS} more" if len(value) > _ITEMS else ""
        return ", ".join(short(item) for item in value[:_ITEMS]) + more
    if value.startswith("sha256:") and len(value) > _DIGEST_SHOWN:
        return value[:_DIGEST_SHOWN] + "…"
    return escaped(value, 120)


def plural(count: int, word: str) -> str:
    """`1 step`, `2 steps`, `2 addresses`."""
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count} {word}{ending}"


def _change_line(part: StorePlan, source: str | None, changes: Sequence[Change]) -> str:
    address = changes[0].address
    actions = {action for change in changes for action in change.actions}
    sign = _SIGN[actions.pop()] if len(actions) == 1 else "~"
    first = changes[0]
    if first.before is None:
        value = short(first.after)
    elif first.after is None:
        value = f"was {short(first.before)}"
    else:
        value = f"{short(first.before)} → {short(first.after)}"
    origin = f"   from {escaped(source, 120)}" if source and first.slot == "artifact" else ""
    name = f"   {escaped(part.names[address], 160)}" if address in part.names else ""
    return f"  {sign} {verb(part.shape, changes):<12} {escaped(address.key, 120)}{name}   {value}{origin}"


def inside_lines(item: Inside) -> Iterator[str]:
    """What is inside of one value: its facts in one line, then the fields that differ."""
    if item.facts:
        compared = any(fact.before is not None for fact in item.facts)
        beside = f"beside {escaped(item.beside, 120)}: " if compared else ""
        yield beside + ", ".join(_fact(fact, compared=compared) for fact in item.facts)
    yield from item.differences
    yield from (f"not looked into: {problem}" for problem in item.problems)


def _fact(fact: Fact, *, compared: bool) -> str:
    name, before, after = escaped(fact.name, 40), fact.before, fact.after
    if not compared or before == after:
        return f"{name} {_counted(after)}"
    moved = f"{name} {_counted(before)} → {_counted(after)}"
    if isinstance(before, int) and isinstance(after, int):
        return f"{moved} ({after - before:+,})"
    return moved


def _counted(value: int | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else escaped(value, 80)


def finding_line(finding: Finding) -> str:
    """One finding: severity, rule, subject, sentence, place, fix."""
    place = f"  ({finding.place})" if finding.place else ""
    fix = f"; fix: {finding.fix}" if finding.fix else ""
    return f"  {finding.severity.value:<5} {finding.rule}: {finding.subject}: {finding.message}{place}{fix}"


def plan_text(plan: Plan, *, limit: int = _SHOWN) -> str:
    """The plan as people read it; at most `limit` changes a store, the rest counted."""
    lines = [advisory_line(plan.advisory)] if plan.advisory else []
    for part in plan.stores:
        if not part.steps and not part.newly_ours and not part.protection:
            continue
        lines.append(f"{part.config.name}  ({part.config.kind}, observed: {part.depth.value})")
        shown = [
            (address, _change_line(part, step.sources.get(address), changes))
            for step in part.steps
            for address, changes in by_address(step.changes).items()
        ]
        looked = {item.address: item for item in plan.contents}
        for address, line in shown[:limit]:
            lines.append(line)
            if item := looked.pop(address, None):
                lines += [f"      {part}" for part in inside_lines(item)]
        if len(shown) > limit:
            lines.append(f"  … and {len(shown) - limit} more")
        if part.newly_ours:
            lines.append(f"  = adopt        {plural(part.newly_ours, 'address')} that already match")
        lines += [
            f"  = {'protect' if on else 'unprotect':<12} {escaped(address.key, 120)}"
            for address, on in part.protection[:limit]
        ]
    lines += note_lines(plan.notes, limit=limit)
    if plan.findings:
        lines.append("findings")
        some = shortlist(plan.findings, _OF_EACH_RULE)
        lines += [finding_line(finding) for finding in some.shown]
        lines += [f"  … and {count} more: {name}" for name, count in sorted(some.rest.items())]
    if lines:
        lines += guards_lines(plan)
    lines.append(plan_summary(plan))
    return "\n".join(lines)


def advisory_line(advisory: Advisory) -> str:
    """What a plan that did not see the stores rests on."""
    hours, minutes = divmod(advisory.age // 60, 60)
    return (
        f"advisory: planned from a snapshot {hours} h {minutes} min old and not from the stores; "
        "apply will not take it"
    )


def plan_summary(plan: Plan) -> str:
    """The closing lines of a plan: counts and the digest that reviewers approve."""
    summary = plan.summary()
    if not plan.findings and not any(p.steps or p.newly_ours or p.protection for p in plan.stores):
        return f"nothing to do   ({plural(summary['noop'], 'declaration')} checked)"
    steps = sum(len(part.steps) for part in plan.stores)
    counts = ", ".join(f"{summary[name]} to {name}" for name in ("create", "update", "delete"))
    denials = sum(f.severity is Severity.DENY for f in plan.findings)
    verdict = f", {plural(denials, 'denial')}" if denials else ""
    return (
        f"{plural(steps, 'step')}: {counts}; {summary['noop']} unchanged, adopted: {summary['adopted']}, "
        f"{plural(len(plan.findings), 'finding')}{verdict}\nintent {plan.intent}"
    )


def note_lines(notes: Sequence[str], *, limit: int = _SHOWN) -> Iterator[str]:
    """The notes of a plan, at most `limit` of them, the rest counted; their texts are escaped."""
    yield from (f"note: {escaped(note, 300)}" for note in notes[:limit])
    if len(notes) > limit:
        yield f"note: {len(notes) - limit} more"


def apply_text(report: ApplyReport, notes: Sequence[str] = ()) -> str:
    """What was noted, and each step's outcome, receipt and problems."""
    lines = list(note_lines(notes))
    for item in report.items:
        result = item.result
        receipt = f"   {short(result.receipt)}" if result.receipt else ""
        lines.append(f"{item.store}  {result.outcome.value:<11} {item.step.id}{receipt}")
        lines += [f"    {problem}" for problem in result.problems]
    applied = sum(item.result.outcome is Outcome.APPLIED for item in report.items)
    if report.items:
        lines.append(f"{applied} of {plural(len(report.items), 'step')} applied")
    elif report.recorded:
        lines.append(f"adopted in {', '.join(report.recorded)}: recorded, nothing else written")
    else:
        lines.append("nothing to do")
    return "\n".join(lines)


def drift_text(report: DriftReport, *, limit: int = _SHOWN) -> str:
    """Every address that is not in sync, then the counts and the depth they rest on."""
    lines = []
    for item in report.items[:limit]:
        what = f" ({item.what})" if item.what else ""
        detail = _drift_detail(item.wanted, item.live) + _hold_detail(item)
        lines.append(f"  {item.verdict + what:<16} {escaped(str(item.address), 120)}{detail}")
        lines += [f"      {problem}" for problem in item.problems]
    if len(report.items) > limit:
        lines.append(f"  … and {len(report.items) - limit} more")
    lines += [f"  warning: {warning}" for warning in report.warnings]
    counts = ", ".join(f"{count} {name}" for name, count in report.summary.items() if count)
    lines.append(f"{counts or 'nothing declared, nothing found'}   (depth: {report.depth.value})")
    return "\n".join(lines)


def _hold_detail(item: DriftItem) -> str:
    if item.hold is None:
        return ""
    return f"; held by {escaped(item.hold.owner, 80)} until {instant(item.hold.expires)}: " + escaped(
        item.hold.reason, 120
    )


def _drift_detail(wanted: Slots, live: Slots) -> str:
    parts = [
        f"{slot}: wanted {short(wanted.get(slot))}, live {short(live.get(slot))}"
        for slot in sorted({*wanted, *live})
        if wanted.get(slot) != live.get(slot)
    ]
    return "   " + "; ".join(parts) if parts else ""


def history_text(store: str, records: Iterable[Record], *, of: str = "") -> str:
    """One block for each record: who, from which commit, why, and what became of the steps.

    `of` is the address that the records were selected for, if they were.
    """
    lines = []
    for record in records:
        run = record.run
        origin = f"commit {run.commit[:12]}" if run.commit else "by hand"
        who = f"   {escaped(run.author, 80)}" if run.author else ""
        why = f"   {escaped(run.reason, 120)}" if run.reason else ""
        lines.append(f"{store} #{record.seq}   {origin}{who}{why}")
        if run.command:
            lines.append(f"    {escaped(run.command, 200)}")
        answers = (
            ("pull request", run.pull_request),
            ("approved by", ", ".join(run.approvers)),
            ("ticket", run.ticket),
        )
        lines += [f"    {name:<12} {escaped(text, 120)}" for name, text in answers if text]
        outcomes = {result.step: result.outcome.value for result in record.results or ()}
        lines += [f"    {outcomes.get(step.id, 'unfinished'):<11} {step.id}" for step in record.steps]
        lines += [f"    break-glass {address}   {escaped(why, 200)}" for address, why in run.break_glass]
        lines += [
            f"    {'protected' if on else 'unprotected':<11} {address}" for address, on in run.protection
        ]
        if run.adopted and not record.steps:
            lines.append(f"    adopted     {plural(len(run.adopted), 'address')}")
    nothing = f"{store}: no record of {escaped(of, 120)}" if of else f"{store}: no record yet"
    return "\n".join(lines) or nothing
