"""What is inside of a value that appears or moves: a digest alone cannot be judged.

Decides which content a reviewer is shown beside which: a name that moves, beside what it named; a release
that appears, beside the highest lower one of its line that is live or appears with it; a record that is
written or edited, beside what it said. Of each pair come
the facts that the store's kind counts (genes, tables, bytes, schema) and the fields that differ, both
bounded whatever the documents hold: at most `LOOKS` pairs a store, eight fields a pair, and documents
larger than `COMPARED` bytes or with longer lists than `ITEMS` are not compared field by field.

Reading the documents is the store's part (`reconciler.stores.port.Describer`). Nothing here does I/O, and
nothing here is part of a plan's intent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from reconciler.canonical import canonical
from reconciler.errors import Problem
from reconciler.fields import field_differences
from reconciler.model import Address, Observed, Slots, Step
from reconciler.points import CONTENT
from reconciler.shape import Release, Shape

LOOKS: Final = 20
COMPARED: Final = 64 * 1024
ITEMS: Final = 1_000
NOTABLE: Final = 1_000


class Look(NamedTuple):
    """One content to look into: its address, its digest where it is known, and a source the store lacks."""

    address: Address
    digest: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One content as its store describes it.

    Attributes:
        address: the content's own address.
        facts: what is counted of it, in the order in which people ask.
        document: the part of its document that is compared field by field; None where there is none.
        problems: why it could not be looked into.
    """

    address: Address
    facts: Mapping[str, int | str]
    document: object = None
    problems: tuple[Problem, ...] = ()


class Pair(NamedTuple):
    """One value that appears or moves: the address that changes, its content, and what stands beside it."""

    address: Address
    content: Look
    beside: Look | None


class Fact(NamedTuple):
    """One count or name, beside and now; None where it is not said."""

    name: str
    before: int | str | None
    after: int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a reviewer is shown of one value: its facts, what differs, or why it is not known."""

    address: Address
    content: str
    beside: str
    facts: tuple[Fact, ...]
    differences: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The stable keys of an item of a plan's `contents`."""
        return {
            "address": str(self.address),
            "content": self.content,
            "beside": self.beside,
            "facts": [fact._asdict() for fact in self.facts],
            "differences": list(self.differences),
            "problems": [problem.to_json() for problem in self.problems],
        }


@dataclass(frozen=True, slots=True)
class _Moved:
    """The changed slots of one address, before and after."""

    address: Address
    before: Slots
    after: Slots


def lines_that_grow(shape: Shape, steps: Iterable[Step]) -> frozenset[str]:
    """The lines in which a release appears: what is live in them has to be known for `pairs`."""
    found = (
        shape.line(moved.address, moved.after)
        for moved in _moved(steps)
        if shape.release(moved.address, moved.after) and not shape.release(moved.address, moved.before)
    )
    return frozenset(line for line in found if line is not None)


def pairs(shape: Shape, steps: Iterable[Step], live: Iterable[Observed]) -> tuple[Pair, ...]:
    """What to look into, releases that appear first, then names that move; each pair once.

    Args:
        shape: the store kind's meaning of slots.
        steps: the steps of one store.
        live: at least what is live in the lines that grow.
    """
    steps = tuple(steps)
    sources = {address: source for step in steps for address, source in step.sources.items()}
    moved = tuple(_moved(steps))
    lines: dict[str, list[Release]] = {}
    for address, slots in (*((s.address, s.slots) for s in live), *((m.address, m.after) for m in moved)):
        line, release = shape.line(address, slots), shape.release(address, slots)
        if line is not None and release is not None:
            lines.setdefault(line, []).append(release)
    known = {r.target: r.digest for releases in lines.values() for r in releases if r.digest}
    look = _Looks(known, sources)
    found: dict[tuple[Look, Look | None], Pair] = {}
    for pair in (*_appearing(shape, moved, lines, look), *_pointing(shape, moved, look)):
        found.setdefault((pair.content, pair.beside), pair)
    return tuple(found.values())[:LOOKS]


class _Looks(NamedTuple):
    known: Mapping[Address, str]
    sources: Mapping[Address, str]

    def at(self, address: Address) -> Look:
        return Look(address, self.known.get(address, ""), self.sources.get(address, ""))


def _appearing(
    shape: Shape, moved: Iterable[_Moved], lines: Mapping[str, list[Release]], look: _Looks
) -> Iterator[Pair]:
    for one in moved:
        release, line = shape.release(one.address, one.after), shape.line(one.address, one.after)
        if release is None or line is None or shape.release(one.address, one.before):
            continue
        lower = [other for other in lines[line] if other.rank < release.rank]
        beside = look.at(max(lower, key=lambda other: other.rank).target) if lower else None
        yield Pair(one.address, look.at(release.target), beside)


def _pointing(shape: Shape, moved: Iterable[_Moved], look: _Looks) -> Iterator[Pair]:
    for one in moved:
        now, before = shape.pointer(one.address, one.after), shape.pointer(one.address, one.before)
        if now and before and now.target != before.target:
            yield Pair(one.address, look.at(now.target), look.at(before.target))


def rewritten(steps: Iterable[Step]) -> Iterator[Pair]:
    """The records that are written or edited, in a store where the slot `content` stands for all of one."""
    steps = tuple(steps)
    sources = {address: source for step in steps for address, source in step.sources.items()}
    for one in _moved(steps):
        before, after = one.before.get(CONTENT), one.after.get(CONTENT)
        if isinstance(after, str):
            beside = Look(one.address, before, "") if isinstance(before, str) else None
            yield Pair(one.address, Look(one.address, after, sources.get(one.address, "")), beside)


def _moved(steps: Iterable[Step]) -> Iterator[_Moved]:
    before: dict[Address, dict[str, Any]] = {}
    after: dict[Address, dict[str, Any]] = {}
    for step in steps:
        for change in step.changes:
            for side, value in ((before, change.before), (after, change.after)):
                slots = side.setdefault(change.address, {})
                if value is not None:
                    slots[change.slot] = value
    return (_Moved(address, before[address], after[address]) for address in before)


def notable(shape: Shape, observed: Iterable[Observed]) -> tuple[Look, ...]:
    """What a later change will most likely be shown beside, by address, at most `NOTABLE`.

    That is the newest release of each line, and what names point at.
    """
    newest: dict[str, Release] = {}
    looks: dict[Address, Look] = {}
    for seen in observed:
        line, release = shape.line(seen.address, seen.slots), shape.release(seen.address, seen.slots)
        if line is not None and release is not None:
            best = newest.get(line)
            newest[line] = release if best is None or best.rank < release.rank else best
        elif pointer := shape.pointer(seen.address, seen.slots):
            looks[pointer.target] = Look(pointer.target, "", "")
    looks.update((release.target, Look(release.target, release.digest, "")) for release in newest.values())
    return tuple(looks[address] for address in sorted(looks)[:NOTABLE])


def comparable(content: Content) -> Content:
    """The content without a document that is too large to be compared."""
    fits = len(canonical(content.document)) <= COMPARED
    return content if fits else replace(content, document=None)


def inside(pair: Pair, described: Mapping[Look, Content]) -> Inside:
    """What a reviewer is shown of one pair."""
    content = described[pair.content]
    beside = described[pair.beside] if pair.beside else None
    problems = (*content.problems, *(beside.problems if beside else ()))
    names = dict.fromkeys((*content.facts, *(beside.facts if beside else ())))
    return Inside(
        address=pair.address,
        content=content.address.key,
        beside=beside.address.key if beside else "",
        facts=tuple(
            Fact(name, beside.facts.get(name) if beside else None, content.facts.get(name)) for name in names
        ),
        differences=_differences(beside.document, content.document) if beside and not problems else (),
        problems=problems,
    )


def _differences(before: object, after: object) -> tuple[str, ...]:
    if before is None or after is None or before == after:
        return ()
    if any(len(canonical(document)) > COMPARED or _long(document) for document in (before, after)):
        return ("too large to be compared field by field",)
    return field_differences(_by_name(before), _by_name(after))


def _long(document: object) -> bool:
    if isinstance(document, Mapping):
        return any(_long(value) for value in document.values())
    return isinstance(document, list) and (len(document) > ITEMS or any(_long(item) for item in document))


def _by_name(document: object) -> object:
    """Lists of named things as maps by name, so that one that is put in between moves no other."""
    if isinstance(document, Mapping):
        return {name: _by_name(value) for name, value in document.items()}
    if not isinstance(document, list):
        return document
    names = [item.get("name") if isinstance(item, Mapping) else None for item in document]
    if names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
        return {name: _by_name(item) for name, item in zip(names, document, strict=True)}
    return [_by_name(item) for item in document]
