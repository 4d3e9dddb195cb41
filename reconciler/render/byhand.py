"""Plain text of the operations by hand: what a write did, and what is known of datasets.

Says the same words as a plan: verb, address, value. Values of unknown origin are escaped. Decides
nothing: what is a gap or a refusal was decided by the operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from reconciler.errors import Problem, escaped
from reconciler.model import Change, Outcome, Step, StepResult
from reconciler.plan import by_address, verb
from reconciler.render.text import plural, short
from reconciler.shape import Shape

_SIGN = {"create": "+", "update": "~", "delete": "-"}
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an operation did: `status` is done, unchanged or dry-run.

    `said` is the sentence for the case that nothing had to change; `notes` are for the reader.
    """

    status: str
    said: str
    steps: tuple[Step, ...]
    results: tuple[StepResult, ...]
    notes: tuple[str, ...] = ()


def written_text(shape: Shape, written: Written) -> str:
    """The changes of a write by hand and what became of them."""
    steps, results = written.steps, written.results
    notes = [f"note: {note}" for note in written.notes]
    if not steps:
        return "\n".join((f"nothing to do: {written.said}", *notes))
    lines = [_change_line(shape, changes) for step in steps for changes in by_address(step.changes).values()]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"  … and {len(lines) - _SHOWN} more"]
    if written.status == "dry-run":
        lines.append(f"dry run: {plural(len(steps), 'step')}, nothing was written")
    else:
        applied = sum(result.outcome is Outcome.APPLIED for result in results)
        receipt = next((r.receipt for r in reversed(results) if r.receipt), "")
        lines.append(
            f"{applied} of {plural(len(steps), 'step')} applied" + (f"   {short(receipt)}" if receipt else "")
        )
    return "\n".join((*lines, *notes))


def _change_line(shape: Shape, changes: Sequence[Change]) -> str:
    first = changes[0]
    actions = {action for change in changes for action in change.actions}
    sign = _SIGN[actions.pop()] if len(actions) == 1 else "~"
    if first.before is None:
        value = short(first.after)
    elif first.after is None:
        value = f"was {short(first.before)}"
    else:
        value = f"{short(first.before)} → {short(first.after)}"
    return f"  {sign} {verb(shape, changes):<12} {escaped(first.address.key, 120)}   {value}"


class Row(NamedTuple):
    """One dataset of a listing; empty text where there is nothing."""

    dataset: str
    manifest: str
    entry: str
    aliases: tuple[str, ...]
    problems: tuple[str, ...]


class Fact(NamedTuple):
    """One named thing that is known of a dataset."""

    name: str
    value: str


class Answer(StrEnum):
    """A question about a dataset, answered."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, holds: object) -> Answer:
        """Yes or no."""
        return cls.YES if holds else cls.NO


class Gap(NamedTuple):
    """Something about a dataset that is not so yet, and the command line that closes it."""

    what: str
    command: str


class StoreRow(NamedTuple):
    """The state of a store as a whole; `catalog` is empty where there is none.

    `unproved` is the backup that the store was restored from, until a drill proved it.
    """

    name: str
    root: str
    records: int
    unfinished: bool
    catalog: str
    unproved: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRow:
    """How far one dataset is in one store."""

    store: str
    dataset: str
    declared: Answer
    built: Answer
    published: Answer
    hash_true: Answer
    in_catalog: Answer
    aliases: tuple[str, ...]
    place: str
    manifest: str
    problems: tuple[Problem, ...]
    gaps: tuple[Gap, ...]

    def with_gaps(self, gaps: Iterable[Gap]) -> StatusRow:
        """The same row, with its gaps."""
        return replace(self, gaps=tuple(gaps))


def status_text(stores: Sequence[StoreRow], rows: Sequence[StatusRow], depth: str) -> str:
    """One block a store: its state, then each dataset's answers and what closes each gap."""
    lines = []
    for store in stores:
        catalog = f"catalog {short(store.catalog)}" if store.catalog else "no catalog"
        run = "a run stands unfinished: reconciler apply" if store.unfinished else "no unfinished run"
        lines.append(
            f"{store.name} ({escaped(store.root, 200)})   {plural(store.records, 'record')}, {catalog}, {run}"
        )
        if store.unproved:
            lines.append(f"  restored from backup {short(store.unproved)}, and no drill has proved it")
        for row in rows:
            if row.store == store.name:
                lines += _status_lines(row)
    gaps = sum(bool(row.gaps) for row in rows)
    lines.append(f"{plural(len(rows), 'dataset')}, {gaps} with gaps   (depth: {depth})")
    return "\n".join(lines)


def _status_lines(row: StatusRow) -> list[str]:
    answers = (
        ("declared", row.declared),
        ("built", row.built),
        ("published", row.published),
        ("hash-true", row.hash_true),
        ("in catalog", row.in_catalog),
    )
    told = ", ".join(f"{name} {answer.value}" for name, answer in answers)
    aliased = "aliased " + (" ".join(escaped(alias, 130) for alias in row.aliases) or "no")
    place = f"   {escaped(row.place, 200)}" if row.place else ""
    return [
        f"  {escaped(row.dataset, 120)}{place}",
        f"      {told}, {aliased}",
        *(f"      problem: {problem}" for problem in row.problems),
        *(f"      {gap.what}: {gap.command}" for gap in row.gaps),
    ]


def listing_text(rows: Sequence[Row], depth: str) -> str:
    """Every dataset on one line, then the counts and the depth they rest on."""
    width = max((len(escaped(row.dataset, 120)) for row in rows), default=0)
    lines = []
    for row in rows:
        parts = [
            f"published {short(row.manifest)}" if row.manifest else "not published",
            "in catalog" if row.entry else "not in catalog",
        ]
        if row.entry not in {"", "listed"}:
            parts[-1] += f" ({escaped(row.entry, 200)})"
        parts += [f"alias {escaped(alias, 130)}" for alias in row.aliases]
        parts += [f"problem {code}" for code in row.problems]
        lines.append(f"{escaped(row.dataset, 120):<{width}}   {', '.join(parts)}")
    listed = sum(bool(row.entry) for row in rows)
    broken = sum(bool(row.problems) for row in rows)
    summary = f"{plural(len(rows), 'dataset')}, {listed} in the catalog"
    if broken:
        summary += f", {broken} with problems"
    return "\n".join((*lines, f"{summary}   (depth: {depth})"))


def facts_text(title: str, facts: Sequence[Fact]) -> str:
    """A title and one fact a line."""
    width = max((len(fact.name) for fact in facts), default=0)
    return "\n".join(
        (escaped(title, 400), *(f"  {f.name:<{width}}   {escaped(f.value, 200)}" for f in facts))
    )


def checks_text(title: str, checks: Sequence[tuple[str, str, str]]) -> str:
    """A title, one check a line (name, status, detail), and the counts by status."""
    width = max((len(name) for name, _, _ in checks), default=0)
    lines = [escaped(title, 400)]
    for name, status, detail in checks:
        line = f"  {status.replace('_', ' '):<16}   {name:<{width}}"
        lines.append(f"{line}   {escaped(detail, 200)}" if detail else line.rstrip())
    counts = Counter(status for _, status, _ in checks)
    lines.append(", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items())))
    return "\n".join(lines)
