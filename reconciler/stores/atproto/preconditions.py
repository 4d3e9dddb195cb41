"""What must hold before anything is written: form, `before` values, references, names and budget.

Everything is checked for the whole run first, so that a refusal writes nothing, not even a record of the
run. A label names an entry, and an entry a schema, that stands intact when the label or entry appears; an
entry goes only when no label names it any more, and a schema only when no entry uses it. References into
other repositories are not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from reconciler.errors import Conflict, Denied, InvalidInput, LimitExceeded, Problem
from reconciler.model import Address, Change, Step, Value
from reconciler.points import points_of
from reconciler.stores.atproto.dagcbor import Record
from reconciler.stores.atproto.keys import COLLECTIONS, ENTRY, KEY, LABEL, SCHEMA, record_key
from reconciler.stores.atproto.lexicon import problems_of
from reconciler.stores.atproto.order import (
    CONTENT,
    ENTRIES,
    MOST_WRITES,
    NAME,
    NAMED_ENTRY,
    OF_SCHEMA,
    VERSION,
)
from reconciler.stores.atproto.repository import CREATED, Key, Reading
from reconciler.stores.atproto.times import timestamp
from reconciler.stores.atproto.writes import (
    Wishes,
    by_address,
    content_change,
    live_slots,
)

RECORD_LIMIT: Final = 900_000
"""The most bytes of a record: a server takes requests of 1,000,000."""

_SLOTS: Final[Mapping[str, frozenset[str]]] = {
    SCHEMA: frozenset({CONTENT, NAME, VERSION, ENTRIES}),
    ENTRY: frozenset({CONTENT, NAME, OF_SCHEMA}),
    LABEL: frozenset({CONTENT, NAME, VERSION, NAMED_ENTRY}),
}
_REFERENCE: Final = {ENTRY: (OF_SCHEMA, SCHEMA), LABEL: (NAMED_ENTRY, ENTRY)}
"""For a kind of record: the slot that names another, and the other's kind."""

_FIX: Final = "plan again"


def check_form(steps: Sequence[Step], wishes: Wishes) -> None:
    """Refuse steps that this store cannot do at once, and records that are not those that were planned.

    Raises:
        InvalidInput: E_STEP, E_SLOT, E_SOURCE_MISSING, E_RECORD_CONTENT, E_RECORD_KEY or E_RECORD_LIMIT.
    """
    for step in steps:
        addresses = by_address(step.changes)
        if len(addresses) > MOST_WRITES or len({(c.address, c.slot) for c in step.changes}) != len(
            step.changes
        ):
            raise InvalidInput.of("E_STEP", "this step is not one that a server can do at once", got=step.id)
        for address, changes in addresses.items():
            if address.kind not in _SLOTS or not KEY.fullmatch(address.key):
                raise InvalidInput.of("E_STEP", "this is not the address of a record", got=str(address))
            _check_slots(address, changes)
            change = content_change(changes)
            if change is not None and change.after is not None:
                _check_record(step, change, changes, wishes)


def _check_slots(address: Address, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.slot not in _SLOTS[address.kind]:
            raise InvalidInput.of(
                "E_SLOT", "this kind of record has no such slot", path=str(address), got=change.slot
            )
    if content_change(changes) is None and any(change.slot != ENTRIES for change in changes):
        raise InvalidInput.of(
            "E_STEP", "what follows from a record's content cannot change without it", path=str(address)
        )


def _check_record(step: Step, change: Change, changes: Sequence[Change], wishes: Wishes) -> None:
    address = change.address
    content, record, slots = wishes.record(step, change)
    if len(content) > RECORD_LIMIT:
        raise InvalidInput.of(
            "E_RECORD_LIMIT",
            f"a record has at most {RECORD_LIMIT} bytes",
            path=str(address),
            got=str(len(content)),
            fix="name fewer shards, or smaller metadata",
        )
    if record.get("$type") != COLLECTIONS[address.kind]:
        raise InvalidInput.of(
            "E_RECORD_CONTENT",
            "the record is not of its collection's type",
            path=str(address),
            got=str(record.get("$type")),
        )
    problems = problems_of({**record, CREATED: timestamp(0)}, where=str(address))
    if problems:
        raise InvalidInput(problems)
    _check_key(address, record)
    wrong = [c for c in changes if c.slot != ENTRIES and c.after is not None and slots.get(c.slot) != c.after]
    if wrong:
        raise InvalidInput.of(
            "E_RECORD_CONTENT",
            f"the record has another {wrong[0].slot} than was planned",
            path=str(address),
            got=str(slots.get(wrong[0].slot)),
            fix=_FIX,
        )


def _check_key(address: Address, record: Record) -> None:
    """A record stands at the key that its name and version give, so that it can stand there only once."""
    if address.kind == ENTRY:
        return  # its version is that of its labels
    name, version = record.get(NAME), record.get(VERSION, "")
    if not isinstance(name, str) or not isinstance(version, str):
        raise InvalidInput.of("E_RECORD_CONTENT", "a record has a name and a version", path=str(address))
    key = record_key(COLLECTIONS[address.kind], name, version)
    if address.key != key:
        raise InvalidInput.of(
            "E_RECORD_KEY",
            "a record of this name and version has another key",
            path=str(address),
            got=f"{name} {version}",
            fix=f"its key is {key}",
        )


def check_before(steps: Sequence[Step], reading: Reading, revision: str) -> None:
    """Compare every `before`, and every `base`, with what stands.

    Raises:
        Conflict: E_CONFLICT, with every difference.
    """
    problems = [
        Problem(code="E_CONFLICT", path=step.unit, message="the repository moved", got=revision, fix=_FIX)
        for step in steps
        if step.base is not None and step.base != revision
    ]
    left: dict[tuple[Address, str], Value | None] = {}
    for change in (change for step in steps for change in step.changes if change.slot != ENTRIES):
        place = (change.address, change.slot)
        seen = left[place] if place in left else live_slots(reading, change.address).get(change.slot)
        left[place] = change.after
        if seen != change.before:
            problems.append(
                Problem(
                    code="E_CONFLICT",
                    path=str(change.address),
                    message=f"its {change.slot} is not what the plan saw ({change.before or 'absent'})",
                    got=str(seen or "absent"),
                    fix=_FIX,
                )
            )
    if problems:
        raise Conflict(problems)


def check_names(steps: Sequence[Step], reading: Reading) -> None:
    """Refuse to write over a record of another name: two names that meet in one key.

    Raises:
        Denied: E_KEY_TAKEN.
    """
    problems = [
        Problem(
            code="E_KEY_TAKEN",
            path=str(change.address),
            message=f"a record of another {change.slot} stands at this key",
            got=str(change.before),
            fix="give the dataset another name",
        )
        for step in steps
        for change in step.changes
        if change.slot in {NAME, VERSION} and change.before is not None and change.after is not None
    ]
    problems += [
        Problem(
            code="E_KEY_TAKEN",
            path=str(change.address),
            message="a record without a name stands at this key",
            fix="remove it by hand, if it is of no use",
        )
        for step in steps
        for change in step.changes
        if change.slot == CONTENT
        and None not in (change.before, change.after)
        and NAME not in live_slots(reading, change.address)
    ]
    if problems:
        raise Denied(problems)


def check_references(
    steps: Sequence[Step],
    reading: Reading,
    wishes: Wishes,
    broken: Callable[[Iterable[Key]], set[Key]],
) -> None:
    """Follow the references that the run makes and breaks, step by step.

    Args:
        steps: the run.
        reading: what stands.
        wishes: the records that it writes.
        broken: of records that stand, those that the server cannot give any more.

    Raises:
        Denied: E_REFERENCE_MISSING or E_STILL_REFERRED.
    """
    intact = {key for key, stored in reading.records.items() if not stored.problems}
    intact -= broken(_referred_to(steps, wishes) & intact)
    refers = {key: to for key, stored in reading.records.items() if (to := _referred(key.kind, stored.slots))}
    users: dict[Key, set[Key]] = {}
    for key, to in refers.items():
        users.setdefault(to, set()).add(key)
    problems: list[Problem] = []
    for step in steps:
        written: list[Key] = []
        withdrawn: list[Key] = []
        for address, changes in by_address(step.changes).items():
            change = content_change(changes)
            if change is None:
                continue
            key = Key(address.kind, address.key)
            if key in refers:
                users[refers.pop(key)].discard(key)
            if change.after is None:
                intact.discard(key)
                withdrawn.append(key)
                continue
            to = _referred(key.kind, wishes.record(step, change).slots)
            if to is not None:
                refers[key] = to
                users.setdefault(to, set()).add(key)
            intact.add(key)
            written.append(key)
        problems += _dangling(written, withdrawn, refers, users, intact)
    if problems:
        raise Denied(problems)


def _referred_to(steps: Sequence[Step], wishes: Wishes) -> set[Key]:
    """The records that the run refers to and does not write itself."""
    named: set[Key] = set()
    written: set[Key] = set()
    for step in steps:
        for change in step.changes:
            if change.slot == CONTENT:
                key = Key(change.address.kind, change.address.key)
                written.add(key)
                if change.after is not None and key.kind in _REFERENCE:
                    to = _referred(key.kind, wishes.record(step, change).slots)
                    if to is not None:
                        named.add(to)
    return named - written


def _referred(kind: str, slots: Mapping[str, Value]) -> Key | None:
    """The record of this repository that one of this kind refers to."""
    if kind not in _REFERENCE:
        return None
    slot, of = _REFERENCE[kind]
    named = slots.get(slot)
    if not isinstance(named, str) or named.startswith("at://"):
        return None
    return Key(of, named)


def _dangling(
    written: Sequence[Key],
    withdrawn: Sequence[Key],
    refers: Mapping[Key, Key],
    users: Mapping[Key, set[Key]],
    intact: set[Key],
) -> Iterator[Problem]:
    for key in written:
        to = refers.get(key)
        if to is not None and to not in intact:
            yield Problem(
                code="E_REFERENCE_MISSING",
                path=_uri(key),
                message=f"the {to.kind} that it names is not there, or is broken",
                got=_uri(to),
                fix=f"publish the {to.kind} first",
            )
    for key in withdrawn:
        left = sorted(users.get(key, ()))
        if left:
            yield Problem(
                code="E_STILL_REFERRED",
                path=_uri(key),
                message=f"it cannot be withdrawn while a {left[0].kind} names it",
                got=_uri(left[0]),
                fix=f"withdraw the {left[0].kind} first",
            )


def _uri(key: Key) -> str:
    return f"{COLLECTIONS[key.kind]}/{key.key}"


def check_budget(steps: Sequence[Step], most: int, where: str) -> None:
    """Refuse a run that costs more than the account may spend in a day.

    Raises:
        LimitExceeded: E_RATE_BUDGET.
    """
    points = points_of(change for step in steps for change in step.changes)
    if points > most:
        raise LimitExceeded.of(
            "E_RATE_BUDGET",
            f"the writes cost {points} points, and the account may spend {most} in a day",
            path=where,
            got=str(points),
            fix="promote in parts over several days, or set pointsPerDay to what the server allows",
        )
