"""Whether a reader could meet a dangling or unverified name: an independent walk along every prefix.

A plan is cut into steps by the store's shape. This module does not trust that: it walks the steps as a
store would do them, and after each looks at what stands then. It knows nothing of how steps are arranged;
it knows only what a name needs (`Shape.needs`), because that is what a reader follows.

Decides, of a plan and of a ledger's record:

- after every step, what the step filled has what it needs, and what it emptied is needed by nobody but
  names that the store itself keeps right in the same step;
- a change begins with what the steps before it left there;
- nothing is created after something was taken away;
- of a record: a release that was found with one content, or a version that named one manifest, never has
  another one later, except where break-glass let it move.

What a plan does not touch does not move while it runs, so a need that was never seen is left to the rules
that judge the observation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.errors import Problem
from reconciler.ledger import Record
from reconciler.model import NOTHING, Address, Change, Finding, Outcome, Severity, Slots, Step, Value, merged
from reconciler.plan import by_address
from reconciler.policy.actions import visible
from reconciler.policy.facts import Facts, StoreFacts
from reconciler.shape import Shape

_FIX = "report this as a bug; nothing was written"
_FIX_AT_END = "keep what it names, or let it name something else in the same change; nothing was written"


@dataclass(slots=True)
class _Walk:
    """What stands after the steps so far.

    Attributes:
        shape: the store kind's meaning of slots.
        state: the slots of every address that is known.
        seen: the slots that are known where an address is known in part; None where it is known whole.
        users: for each address, the others that need it.
    """

    shape: Shape
    state: dict[Address, Slots] = field(default_factory=dict)
    seen: set[tuple[Address, str]] | None = None
    users: dict[Address, set[Address]] = field(default_factory=dict)

    def put(self, address: Address, slots: Slots) -> None:
        """Say what stands at an address."""
        before = self.state.get(address)
        for needed, _ in self.shape.needs(address, before) if before else ():
            if needed != address:
                self.users[needed].discard(address)
        self.state[address] = slots
        for needed, _ in self.shape.needs(address, slots):
            if needed != address:
                self.users.setdefault(needed, set()).add(address)

    def do(self, grouped: Mapping[Address, Sequence[Change]]) -> Iterator[tuple[Address, str]]:
        """Do the changes of one step, by address; yields what a reader could meet after it."""
        stood = {address: self.state.get(address, NOTHING) for address in grouped}
        for address, of_address in grouped.items():
            stands = stood[address]
            for _, slot, before, _ in of_address:
                if stands.get(slot) != before:
                    yield address, f"its {slot} would be {stands.get(slot, 'absent')}, not {before}"
            self.put(address, merged(stands, of_address))
        for address in grouped:
            yield from self._dangling(address, {})
            for user in sorted(self.users.get(address, ())):
                if user not in grouped and not self.shape.derived(user):
                    yield from self._dangling(user, stood)

    def _dangling(self, address: Address, stood: Mapping[Address, Slots]) -> Iterator[tuple[Address, str]]:
        """What a name needs and does not find; of what a step moved, only what was there before it."""
        for needed, slot in self.shape.needs(address, self.state.get(address, NOTHING)):
            if needed not in self.state or self.state[needed].get(slot):
                continue
            if needed in stood and not stood[needed].get(slot):
                continue
            if self.seen is None or (needed, slot) in self.seen:
                yield address, f"readers would follow it to {needed}, which has no {slot} then"


def safe_order(_facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    """At no moment of an apply, killed anywhere, does a name lead to what is not there."""
    last = store.plan.steps[-1].id if store.plan.steps else ""
    for step, address, message in _problems_of(store):
        yield Finding(
            rule="order",
            severity=Severity.DENY,
            subject=str(address),
            message=f"after '{step}' {message}",
            place=store.place(address),
            code="E_ORDER",
            fix=_FIX_AT_END if step == last else _FIX,
        )


def _problems_of(store: StoreFacts) -> Iterator[tuple[str, Address, str]]:
    shape, steps = store.plan.shape, store.plan.steps
    if not steps:
        return
    walk = _Walk(shape)
    for address, slots in {**store.survey, **store.difference.observed}.items():
        walk.put(address, slots)
    for address in store.touched:
        walk.state.setdefault(address, NOTHING)
    removed = ""
    for step in steps:
        grouped = by_address(step.changes)
        stood = {a: visible(shape, a, walk.state[a]) for a in grouped if not shape.derived(a)}
        yield from ((step.id, address, message) for address, message in walk.do(grouped))
        moved = [a for a, was in stood.items() if visible(shape, a, walk.state[a]) is not was]
        made = [address for address in moved if not stood[address]]
        if removed and made:
            yield step.id, min(made), f"something was made, although '{removed}' had taken something away"
        if moved and not made:
            removed = step.id
    yield from _unfollowed(steps)


def _unfollowed(steps: Sequence[Step]) -> Iterator[tuple[str, Address, str]]:
    """Steps that would run before one that they must follow."""
    done: set[str] = set()
    for step in steps:
        if step.changes and not done.issuperset(step.after):
            missing = min(set(step.after) - done)
            yield step.id, step.changes[0].address, f"its step would run before '{missing}'"
        done.add(step.id)


def record_problems(shape: Shape, records: Iterable[Record], store: str) -> Iterator[Problem]:
    """What readers could have met while a ledger's records were written.

    Args:
        shape: the store kind's meaning of slots.
        records: the ledger, oldest first.
        store: its name, for problems.
    """
    walk = _Walk(shape, seen=set())
    contents: dict[tuple[Address, str], Value] = {}
    for record in records:
        taken = (
            Change(at, slot, None, value) for at, slots in record.run.adopted for slot, value in slots.items()
        )
        for address, message in _moved(shape, record, taken, contents):
            yield _recorded(record, store, address, message)
        landed = {r.step for r in record.results or () if r.outcome is Outcome.APPLIED}
        steps = [step for step in record.steps if step.id in landed]
        _recall(walk, record, steps)
        for step in steps:
            for address, message in walk.do(by_address(step.changes)):
                yield _recorded(record, store, address, f"after '{step.id}' {message}")
            for address, message in _moved(shape, record, step.changes, contents):
                yield _recorded(record, store, address, message)


def _moved(
    shape: Shape, record: Record, changes: Iterable[Change], contents: dict[tuple[Address, str], Value]
) -> Iterator[tuple[Address, str]]:
    """What a record gave another content than it ever had: published bytes, and names of one release."""
    allowed = {address for address, _ in record.run.break_glass}
    for address, slot, before, after in changes:
        if after is None or not _fixed(shape, address, slot, after):
            continue
        had = contents.setdefault((address, slot), after if before is None else before)
        if had != after:
            contents[address, slot] = after
            if address not in allowed:
                yield address, f"its {slot} was {had} before, and became {after}"


def _fixed(shape: Shape, address: Address, slot: str, value: Value) -> bool:
    """Whether a slot that holds this may never hold anything else: content, and what a version names."""
    if (address.kind, slot) in shape.permanent:
        return isinstance(value, str)  # a list is what the store derives
    return (address.kind, slot) in shape.retained and shape.release(address, {slot: value}) is not None


def _recall(walk: _Walk, record: Record, steps: Sequence[Step]) -> None:
    """Note what a record says of the moment before it: other writers leave no record of theirs."""
    first: dict[tuple[Address, str], Value | None] = {}
    for address, slots in record.run.adopted:
        first.update({(address, slot): value for slot, value in slots.items()})
    for step in steps:
        for change in step.changes:
            first.setdefault((change.address, change.slot), change.before)
    if walk.seen is not None:
        walk.seen.update(first)
    for (address, slot), value in first.items():
        change = Change(address, slot, None, value)
        walk.put(address, merged(walk.state.get(address, NOTHING), (change,)))


def _recorded(record: Record, store: str, address: Address, message: str) -> Problem:
    return Problem(
        code="E_ORDER",
        path=str(address),
        message=f"record {record.seq} of store {store}: {message}",
        fix="find out who wrote that; what stands now is checked by 'reconciler drift --deep'",
    )
