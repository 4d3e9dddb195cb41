"""Markdown for pull-request comments and job summaries, bounded in length.

Everything that may come from a pull request is escaped twice: as text of unknown origin, and as
Markdown. A single value becomes a code span that cannot be left; in a sentence, every word that could
mean something to a renderer (a link, a mention, a reference, HTML) becomes one. The comment about a plan
has its own module, `reconciler.render.comment`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from reconciler.apply import ApplyReport
from reconciler.drift import DriftItem, DriftReport
from reconciler.errors import escaped
from reconciler.model import Value
from reconciler.render.text import plural, short

_ROWS = 100
_DRIFT_ROOM = 40_000
_WARNINGS_ROOM = 10_000
_NOTES_ROOM = 3_000
_WORD = r"[A-Za-z]+(?:['-][A-Za-z]+)*"
_NUMBER = r"[0-9]{1,6}|[+-]?[0-9]{1,3}(?:,[0-9]{3}){0,5}"
_PLAIN = re.compile(rf"""[('"]?(?:{_WORD}|{_NUMBER}|[–→…])['")]?[,.;:!?]?""")
"""A word that no renderer of Markdown makes anything of."""

_OUTER = re.compile(r"(?P<open>\(?)(?P<quote>['\"]?)(?P<core>.*?)(?P=quote)(?P<close>[),.;:!?]*)", re.DOTALL)


def code(text: str, limit: int = 160) -> str:
    """Text as a code span that cannot be left."""
    return _span(escaped(text, limit))


def value(content: Value | None) -> str:
    """A value as `short` shows it, which escapes it, as a code span that cannot be left."""
    return _span(short(content))


def _span(shown: str) -> str:
    inner = shown.replace("`", "'").replace("|", "¦").strip()
    return f"`{inner or '–'}`"


def prose(text: str, limit: int = 300) -> str:
    """A sentence with values of unknown origin in it: what is not a plain word becomes a code span.

    >>> prose("it is published as sha256:12, says @ada")
    'it is published as `sha256:12`, says `@ada`'
    """
    shown: list[str] = []
    for word in text.split():
        shown.append(_word(word))
        limit -= len(shown[-1]) + 1
        if limit < 0:
            shown[-1] = "…"
            break
    return " ".join(shown)


def _word(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    parts = _OUTER.fullmatch(word)
    if parts is None or not parts["core"]:
        return code(word)
    # What `short` has shortened stays as it is shown.
    core = "…".join(escaped(part, 160) for part in parts["core"][:200].split("…"))
    return f"{parts['open']}{_span(core)}{parts['close']}"


def fitting(lines: Iterable[str], room: int) -> list[str]:
    """The first lines that take at most `room` bytes together, each with the break after it."""
    taken: list[str] = []
    for line in lines:
        room -= len(line.encode("utf-8")) + 1
        if room < 0:
            break
        taken.append(line)
    return taken


def notes_lines(notes: Sequence[str]) -> list[str]:
    """The notes of a plan as a list below a heading, bounded; nothing where there are none."""
    if not notes:
        return []
    lines = fitting((f"- {prose(note, 300)}" for note in notes[:_ROWS]), _NOTES_ROOM)
    more = len(notes) - len(lines)
    return ["", f"**{plural(len(notes), 'note')}**", "", *lines, *([f"- … and {more} more"] if more else [])]


def apply_markdown(report: ApplyReport, notes: Sequence[str] = ()) -> str:
    """A table of steps and outcomes, and the notes of the plan."""
    rows = [
        f"| {code(item.store)} | {code(item.step.id)} | {item.result.outcome.value} "
        f"| {value(item.result.receipt or None)} |"
        for item in report.items[:_ROWS]
    ]
    if not rows:
        return "\n".join(("### Apply\n\nNothing to do.", *notes_lines(notes)))
    more = len(report.items) - len(rows)
    return "\n".join(
        [
            *("### Apply", "", "| store | step | outcome | receipt |", "|---|---|---|---|", *rows),
            *([f"\n… and {more} more"] if more else []),
            *notes_lines(notes),
        ]
    )


def drift_markdown(report: DriftReport) -> str:
    """A table of what is not in sync, and the counts; it fits into an issue, and what does not is counted."""
    counts = ", ".join(f"{count} {name}" for name, count in report.summary.items() if count)
    lines = ["### Drift", "", f"{counts or 'nothing declared'} (depth: {report.depth.value})", ""]
    if report.items:
        lines += ["| verdict | what | address | declared |", "|---|---|---|---|"]
        rows = fitting((_drift_row(item) for item in report.items[:_ROWS]), _DRIFT_ROOM)
        lines += [*rows, *_more(report.items[len(rows) :])]
    warnings = fitting((f"\n> {prose(warning)}" for warning in report.warnings), _WARNINGS_ROOM)
    if len(report.warnings) > len(warnings):
        warnings.append(f"\n> … and {len(report.warnings) - len(warnings)} more")
    return "\n".join(lines + warnings)


def _drift_row(item: DriftItem) -> str:
    place = code(item.place) if item.place else ""
    return f"| {item.verdict} | {item.what} | {code(str(item.address))} | {place} |"


def _more(items: Sequence[DriftItem]) -> list[str]:
    """What was left out of a report, by verdict."""
    if not items:
        return []
    counts = Counter(item.verdict for item in items)
    return [f"\n… and {len(items)} more: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())]
