"""The explanation of one address, as text and as Markdown: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.errors import escaped
from reconciler.explain import Explanation
from reconciler.governance import instant
from reconciler.model import Slots
from reconciler.render.markdown import code, prose
from reconciler.render.text import finding_line, inside_lines, short

_SHOWN = 10


def explain_text(found: Explanation) -> str:
    """One block: the address, why, what it rests on, what would change the answer."""
    verbs = ", ".join(found.verbs) or "no change"
    rows = [f"{escaped(str(found.address), 160)}   {verbs}"]
    rows += [f"  because    {escaped(line, 300)}" for line in found.why]
    rows += [f"  {name:<10} {text}" for name, text in _facts(found)]
    rows += [f"  {finding_line(finding).strip()}" for finding in found.findings[:_SHOWN]]
    rows += [f"  otherwise  {escaped(line, 300)}" for line in found.otherwise[:_SHOWN]]
    return "\n".join(rows)


def explain_markdown(found: Explanation) -> str:
    """The same as a list."""
    verbs = ", ".join(found.verbs) or "no change"
    rows = [f"### {code(str(found.address))}: {verbs}", ""]
    rows += [f"- **because** {prose(line)}" for line in found.why]
    rows += [f"- **{name}** {prose(text)}" for name, text in _facts(found)]
    rows += [
        f"- **{f.severity.value}** {code(f.rule)} {code(f.subject)}: {prose(f.message)}"
        for f in found.findings[:_SHOWN]
    ]
    rows += [f"- **otherwise** {prose(line)}" for line in found.otherwise[:_SHOWN]]
    return "\n".join(rows)


def _facts(found: Explanation) -> Iterator[tuple[str, str]]:
    """What the answer rests on, one thing a line; texts of unknown origin are escaped."""
    wish, last = found.wish, found.last
    if wish is None:
        yield "declared", "nowhere"
    else:
        source = f"   from {escaped(wish.source, 120)}" if wish.source else ""
        yield "declared", f"{escaped(str(wish.place), 200)}   {_slots(wish.slots)}{source}"
    yield "live", _slots(found.live)
    yield from (("live", escaped(str(problem), 300)) for problem in found.problems[:_SHOWN])
    if found.recorded is not None:
        yield "recorded", _slots(found.recorded)
    if last is not None:
        origin = f"commit {escaped(last.run.commit[:12])}" if last.run.commit else "by hand"
        author = f" by {escaped(last.run.author, 80)}" if last.run.author else ""
        yield "record", f"#{last.seq} of {instant(last.run.time)}, {origin}{author}"
    for change in found.changes[:_SHOWN]:
        yield "change", f"{escaped(change.slot)}: {short(change.before)} → {short(change.after)}"
    if found.contents is not None:
        yield from (("inside", line) for line in inside_lines(found.contents))
    for step in found.steps[:_SHOWN]:
        yield "step", escaped(step.id, 160) + _after(step.after)
    for need in found.needs[:_SHOWN]:
        yield "needs", f"{escaped(str(need.address), 160)} {escaped(need.slot)}: {escaped(need.state, 160)}"
    unlocks = [escaped(str(address), 160) for address in found.unlocks[:_SHOWN]]
    if unlocks:
        more = len(found.unlocks) - len(unlocks)
        yield "unlocks", ", ".join(unlocks) + (f", and {more} more" if more else "")


def _after(steps: tuple[str, ...]) -> str:
    if not steps:
        return ""
    shown = ", ".join(escaped(step, 80) for step in steps[:3])
    return f"   after {shown}" + (f" and {len(steps) - 3} more" if len(steps) > 3 else "")


def _slots(slots: Slots) -> str:
    return ", ".join(f"{escaped(slot)} {short(value)}" for slot, value in sorted(slots.items())) or "nothing"
