"""What the addresses of an ATProto repository mean for planning; pure.

    schema/RKEY   content   digest of the record without `createdAt`; it decides whether a record is as wished
                  name      the name of the type
                  version   its version
                  entries   which entries of this repository use it; derived, never written
    entry/RKEY    content
                  name      the name of the dataset; the record of an entry has no version
                  schema    the key of the schema, or its whole URI in another repository
    label/RKEY    content
                  name
                  version
                  entry     the key of the entry that it names, or its whole URI in another repository

A record is one `content`; the other slots follow from it and are there for people and rules. One
`applyWrites` is the store's write unit: at most 200 records, and few enough bytes. On the way up schemas
come first, then every entry directly before its labels, so that a promotion lands in one commit wherever it
fits; on the way down labels, entries, schemas. Inside one commit no reader sees anything between.

A schema goes with the last entry that uses it, in the run that withdraws that entry. One that is left over,
because the entry went by hand or in a run that was stopped, stays: nobody is asked for its tombstone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from reconciler.model import Address, Change, Slots, Step, Value
from reconciler.shape import Pointer, Release
from reconciler.stores.atproto.keys import ENTRY, KINDS, LABEL, SCHEMA, source_parts

CONTENT: Final = "content"
NAME: Final = "name"
VERSION: Final = "version"
ENTRIES: Final = "entries"
OF_SCHEMA: Final = "schema"
NAMED_ENTRY: Final = "entry"

UNIT: Final = "repository"
MOST_WRITES: Final = 200
"""What one `applyWrites` may hold (https://docs.bsky.app/docs/api/com-atproto-repo-apply-writes)."""

MOST_BYTES: Final = 140_000
"""What one request should not exceed: older servers take 150 KiB, newer ones 1,000,000 bytes."""

_AROUND: Final = 300
"""Bytes of a request around each record."""

_UNKNOWN_SIZE: Final = 4_096

_SLOTS: Final = (CONTENT, NAME, VERSION, OF_SCHEMA, NAMED_ENTRY)
_LEGAL: Final[Mapping[str, frozenset[str]]] = {
    SCHEMA: frozenset({CONTENT, NAME, VERSION, ENTRIES}),
    ENTRY: frozenset({CONTENT, NAME, OF_SCHEMA}),
    LABEL: frozenset({CONTENT, NAME, VERSION, NAMED_ENTRY}),
}
_PUBLISH: Final[Mapping[str, str]] = {SCHEMA: "publish schema", ENTRY: "publish entry", LABEL: "label"}


class AtprotoShape:
    """The shape of an ATProto repository (see `reconciler.shape.Shape`)."""

    permanent: frozenset[tuple[str, str]] = frozenset({(SCHEMA, ENTRIES)})
    retained: frozenset[tuple[str, str]] = frozenset()
    users: Mapping[str, tuple[str, str, str]] = MappingProxyType({SCHEMA: (ENTRIES, ENTRY, OF_SCHEMA)})
    always: tuple[tuple[str, str], ...] = ()

    def omittable(self, address: Address) -> bool:
        """A schema that no entry here uses any more, because entries of other accounts may use it."""
        return address.kind == SCHEMA

    def derived(self, address: Address) -> bool:  # noqa: ARG002 - the protocol's signature
        """Nothing: every record was written by somebody."""
        return False

    def follower(self, store: str, line: str) -> Address | None:  # noqa: ARG002 - as above
        """Nothing: names move when git says so."""
        return None

    def arrange(self, store: str, changes: Sequence[Change], sources: Mapping[Address, str]) -> list[Step]:
        """Cut the changes into requests; ties by address."""
        steps: list[Step] = []
        for batch in _batches(_groups(changes), sources):
            steps.append(
                Step(
                    id=f"commit {len(steps) + 1}",
                    store=store,
                    unit=UNIT,
                    changes=tuple(change for record in batch for change in record),
                    after=(steps[-1].id,) if steps else (),
                    sources={r[0].address: sources[r[0].address] for r in batch if r[0].address in sources},
                )
            )
        return steps

    def verb(self, kind: str, slot: str, before: Value | None, after: Value | None) -> str:  # noqa: ARG002
        """The name of a change; total over every kind and slot."""
        if after is None:
            return "withdraw"
        return _PUBLISH.get(kind, "publish") if before is None else "update"

    def line(self, address: Address, slots: Slots) -> str | None:  # noqa: ARG002 - the protocol's signature
        """None: versions of an account are names as their publisher gives them, in no order of releases."""
        return None

    def release(self, address: Address, slots: Slots) -> Release | None:  # noqa: ARG002 - as above
        """None: as for lines."""
        return None

    def pointer(self, address: Address, slots: Slots) -> Pointer | None:  # noqa: ARG002 - as above
        """None: no record follows the newest version."""
        return None

    def legal(self, address: Address, slots: Slots) -> bool:
        """A record of one of the three collections, with slots that such a record has."""
        if any(isinstance(value, tuple) != (slot == ENTRIES) for slot, value in slots.items()):
            return False
        return address.kind in KINDS and slots.keys() <= _LEGAL[address.kind] and "/" not in address.key

    def needs(self, address: Address, slots: Slots) -> tuple[tuple[Address, str], ...]:
        """A label needs its entry, an entry its schema."""
        slot, kind = (NAMED_ENTRY, ENTRY) if address.kind == LABEL else (OF_SCHEMA, SCHEMA)
        key = slots.get(slot)
        if CONTENT not in slots or address.kind == SCHEMA or not isinstance(key, str):
            return ()
        return ((Address(address.store, kind, key), CONTENT),)


SHAPE: Final = AtprotoShape()

_OfRecord = tuple[Change, ...]
_Group = list[_OfRecord]


def _groups(changes: Sequence[Change]) -> Iterator[_Group]:
    """Records that should land together, in order: schemas, entries each with its labels, withdrawals."""
    records: dict[Address, list[Change]] = {}
    for change in sorted(changes, key=lambda change: (change.address, _place(change.slot))):
        records.setdefault(change.address, []).append(change)
    up = {address: tuple(of) for address, of in records.items() if not _withdraws(of)}
    down = {address: tuple(of) for address, of in records.items() if _withdraws(of)}
    labels: dict[str, _Group] = {}
    for address, of in up.items():
        if address.kind == LABEL:
            labels.setdefault(_named(of), []).append(of)
    yield from ([of] for address, of in up.items() if address.kind == SCHEMA)
    for address, of in up.items():
        if address.kind == ENTRY:
            yield [of, *labels.pop(address.key, ())]
    for key in sorted(labels):
        yield from ([of] for of in labels[key])
    yield from ([of] for address, of in up.items() if address.kind not in KINDS)
    for kind in reversed(KINDS):
        yield from ([of] for address, of in down.items() if address.kind == kind)
    yield from ([of] for address, of in down.items() if address.kind not in KINDS)


def _place(slot: str) -> tuple[int, str]:
    return (_SLOTS.index(slot) if slot in _SLOTS else len(_SLOTS), slot)


def _withdraws(changes: Iterable[Change]) -> bool:
    return any(change.slot == CONTENT and change.after is None for change in changes)


def _named(changes: Iterable[Change]) -> str:
    return next((str(change.after) for change in changes if change.slot == NAMED_ENTRY), "")


def _batches(groups: Iterable[_Group], sources: Mapping[Address, str]) -> Iterator[_Group]:
    """Fill requests with whole groups; one that is too large for a request of its own is cut."""
    batch: _Group = []
    room = MOST_BYTES
    for group in groups:
        size = sum(_size(of, sources) for of in group)
        if batch and (len(batch) + len(group) > MOST_WRITES or size > room):
            yield batch
            batch, room = [], MOST_BYTES
        for of in group:
            one = _size(of, sources)
            if batch and (len(batch) == MOST_WRITES or one > room):
                yield batch
                batch, room = [], MOST_BYTES
            batch.append(of)
            room -= one
    if batch:
        yield batch


def _size(changes: _OfRecord, sources: Mapping[Address, str]) -> int:
    """About how many bytes of a request a record takes; JSON is up to half as much again as DAG-CBOR."""
    if _withdraws(changes):
        return _AROUND
    parts = source_parts(sources.get(changes[0].address, ""))
    return _AROUND + (_UNKNOWN_SIZE if parts is None else parts[1] * 3 // 2)
