"""Why an address changes in a plan, or why it does not.

Puts side by side what decides: the line that declares it, what is live, what the record says, the steps
that touch it, what it needs and what waits for it, the findings about it; and says in sentences what follows
and what would change the answer. Everything comes in as values; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reconciler.contents import Inside
from reconciler.diff import managed
from reconciler.errors import Problem
from reconciler.ledger import Inventory, Record
from reconciler.model import (
    NOTHING,
    Address,
    Change,
    Declaration,
    Finding,
    Observed,
    Severity,
    Slots,
    Step,
    merged,
)
from reconciler.plan import WHOLE_PLAN, StorePlan, finding_json, verb
from reconciler.shape import Shape

SCHEMA: Final = "reconciler/explain/v1"


class Need(NamedTuple):
    """A slot that must be filled before, and whether it is live, comes first in the plan, or is missing."""

    address: Address
    slot: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of one address.

    Attributes:
        part: the plan of its store.
        wish: how it is declared; None where no line declares it.
        live: what was seen of it and of what it needs, by address.
        inventory: what is ours in its store.
        last: the last record that touched it; None where there is none, or the ledger is out of reach.
        everything_ours: whether its store is declared authoritative.
    """

    part: StorePlan
    wish: Declaration | None
    live: Mapping[Address, Observed]
    inventory: Inventory
    last: Record | None
    everything_ours: bool

    @property
    def shape(self) -> Shape:
        """What the addresses of its store mean."""
        return self.part.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer about one address; `why` and `otherwise` are sentences."""

    address: Address
    verbs: tuple[str, ...]
    why: tuple[str, ...]
    otherwise: tuple[str, ...]
    wish: Declaration | None
    live: Slots
    problems: tuple[Problem, ...]
    recorded: Slots | None
    last: Record | None
    changes: tuple[Change, ...]
    steps: tuple[Step, ...]
    needs: tuple[Need, ...]
    unlocks: tuple[Address, ...]
    findings: tuple[Finding, ...]
    contents: Inside | None

    def to_json(self) -> dict[str, Any]:
        """The stable keys of the answer."""
        return {
            "schema": SCHEMA,
            "address": str(self.address),
            "verbs": list(self.verbs),
            "why": list(self.why),
            "otherwise": list(self.otherwise),
            "declared": _declared_json(self.wish),
            "live": dict(self.live) or None,
            "problems": [problem.to_json() for problem in self.problems],
            "recorded": None if self.recorded is None else dict(self.recorded) or None,
            "record": _record_json(self.last),
            "changes": [{"slot": c.slot, "before": c.before, "after": c.after} for c in self.changes],
            "steps": [{"id": step.id, "unit": step.unit, "after": list(step.after)} for step in self.steps],
            "needs": [{"address": str(a), "slot": slot, "state": state} for a, slot, state in self.needs],
            "unlocks": [str(address) for address in self.unlocks],
            "findings": [finding_json(finding) for finding in self.findings],
            "contents": None if self.contents is None else self.contents.to_json(),
        }


def _declared_json(wish: Declaration | None) -> dict[str, Any] | None:
    if wish is None:
        return None
    return {
        "path": wish.place.path,
        "line": wish.place.line,
        "slots": dict(wish.slots) or None,
        "source": wish.source,
        "reason": wish.reason,
    }


def _record_json(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    run = record.run
    return {
        "seq": record.seq,
        "by": run.by,
        "commit": run.commit,
        "author": run.author,
        "reason": run.reason,
        "time": run.time,
    }


def needed(shape: Shape, address: Address, wish: Declaration | None, live: Slots) -> frozenset[Address]:
    """The other addresses that have to be observed to explain this one."""
    slots = {**live, **(wish.slots if wish else NOTHING)}
    return frozenset(other for other, _ in shape.needs(address, slots) if other != address)


def explained(
    address: Address, known: Situation, findings: Sequence[Finding], contents: Sequence[Inside]
) -> Explanation:
    """The answer about one address.

    Args:
        address: what is asked about.
        known: what decides about it.
        findings: all findings of the plan.
        contents: what is inside of the plan's values.
    """
    steps = tuple(s for s in known.part.steps if any(c.address == address for c in s.changes))
    changes = tuple(c for step in steps for c in step.changes if c.address == address)
    sight = known.live.get(address)
    live = sight.slots if sight else NOTHING
    subjects = {str(address), address.store, f"{address.store}/{address.kind}", WHOLE_PLAN}
    about = tuple(finding for finding in findings if finding.subject in subjects)
    return Explanation(
        address=address,
        verbs=tuple(
            dict.fromkeys(
                verb(known.shape, [c for c in step.changes if c.address == address]) for step in steps
            )
        ),
        why=tuple(_why(address, known, live, changes)),
        otherwise=tuple(_otherwise(address, known, live, about, changes=changes)),
        wish=known.wish,
        live=live,
        problems=sight.problems if sight else (),
        recorded=known.inventory.recorded.get(address),
        last=known.last,
        changes=changes,
        steps=steps,
        needs=tuple(_needs(address, known, merged(live, changes))),
        unlocks=tuple(_unlocks(address, known.part)),
        findings=about,
        contents=next((item for item in contents if item.address == address), None),
    )


def _why(address: Address, known: Situation, live: Slots, changes: Sequence[Change]) -> Iterator[str]:
    wish, ours = known.wish, known.inventory.owns(address)
    if changes:
        yield from _why_it_changes(known, changes)
    elif address in known.part.held:
        yield "a hold or suspension keeps it as it is live, whatever git says"
    elif wish is not None and not wish.slots:
        yield f"{wish.place} says that it must not be there, and it is not"
    elif wish is not None:
        yield f"it is live as {wish.place} declares it"
        if any(adopted == address for adopted, _ in known.part.adopted):
            yield "the record does not say yet that it is ours: applying adopts it, which only adds a record"
    elif known.shape.derived(address):
        yield "the store keeps it by its own rule, so nobody has to declare it"
    elif not live:
        yield "no line declares it, and the store does not hold it"
    elif (ours or known.everything_ours) and known.shape.omittable(address):
        yield "it was ours, and git let go of it by not naming it: it stays as it is"
    elif ours:
        yield "it is ours by the record and stays, because something that is declared uses it"
    else:
        yield "no line declares it and the record does not claim it: it is not ours, and never touched"


def _why_it_changes(known: Situation, changes: Sequence[Change]) -> Iterator[str]:
    wish = known.wish
    if wish is None:
        claim = "its store is declared authoritative" if known.everything_ours else "it is ours by the record"
        yield f"{claim}, and no line declares it any more"
    elif not wish.slots:
        yield f"{wish.place} says that it was removed" + (f": {wish.reason}" if wish.reason else "")
    else:
        decided = managed(wish, known.inventory.recorded.get(wish.address, NOTHING), known.shape)
        slots = ", ".join(c.slot for c in changes if c.slot in decided)
        yield f"{wish.place} declares it, and the store does not have it so: {slots}"


def _otherwise(
    address: Address,
    known: Situation,
    live: Slots,
    findings: Sequence[Finding],
    *,
    changes: Sequence[Change],
) -> Iterator[str]:
    wish = known.wish
    for finding in findings:
        if finding.severity is Severity.DENY:
            yield f"{finding.rule} denies it; {finding.fix or finding.message}"
    if changes and wish is None:
        yield "declaring it again would keep it; a line under 'removed:' would say why it goes"
    elif changes and wish is not None:
        yield f"another value at {wish.place}, or the store being as declared, would leave nothing to do"
    elif address in known.part.held:
        yield "the end or the removal of the hold would let git decide again"
    elif wish is not None and wish.slots:
        yield f"an edit at {wish.place}, or another writer in the store, would change it"
    elif live and wish is None and not known.shape.derived(address):
        yield "a line that declares it would make it ours"
    elif not live and wish is None:
        yield "a line that declares it would create it"


def _needs(address: Address, known: Situation, slots: Slots) -> Iterator[Need]:
    written = {
        (change.address, change.slot): step.id
        for step in known.part.steps
        for change in step.changes
        if change.after is not None
    }
    for other, slot in known.shape.needs(address, slots):
        sight = known.live.get(other)
        if (other, slot) in written:
            yield Need(other, slot, f"comes first: {written[other, slot]}")
        elif sight is not None and slot in sight.slots:
            yield Need(other, slot, "live")
        else:
            yield Need(other, slot, "missing")


def _unlocks(address: Address, part: StorePlan) -> Iterator[Address]:
    after: dict[Address, dict[str, Any]] = {}
    for change in part.changes:
        if change.after is not None:
            after.setdefault(change.address, {})[change.slot] = change.after
    for other, slots in after.items():
        if other != address and any(needed == address for needed, _ in part.shape.needs(other, slots)):
            yield other
