"""What one step writes: the operations of one `applyWrites`, the record and the CID of each.

Pure: a step, the records as they stand and the contents that are wished become operations. A record that is
already as the step leaves it gives none, because a server makes a new commit even of an equal one. A record
keeps the `createdAt` that stands in the repository; a new one gets the time of the run, so that a rerun gives
the same bytes and the same CID.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from reconciler.errors import InvalidInput
from reconciler.model import NOTHING, Address, Change, Slots, Step
from reconciler.stores.atproto.dagcbor import Malformed, Record, cid_of, decode, encode, to_json
from reconciler.stores.atproto.keys import COLLECTIONS, source_parts
from reconciler.stores.atproto.order import CONTENT, ENTRIES, NAME
from reconciler.stores.atproto.repository import CREATED, Head, Key, Reading, Stored, slots_of
from reconciler.stores.atproto.times import Times

_OPERATION: Final = "com.atproto.repo.applyWrites#"


class Wished(NamedTuple):
    """A record as it was wished, without `createdAt`, and the slots that follow from it."""

    content: bytes
    record: Record
    slots: Slots


class Wishes:
    """The records that steps write, each read once.

    Args:
        did: the account.
        contents: the records that sources name by their CID.
    """

    def __init__(self, did: str, contents: Mapping[str, bytes]) -> None:
        self.did = did
        self._contents = contents
        self._read: dict[tuple[str, str], Wished] = {}

    def record(self, step: Step, change: Change) -> Wished:
        """What a change of content writes.

        Raises:
            InvalidInput: E_SOURCE_MISSING or E_RECORD_CONTENT.
        """
        address, source = change.address, step.sources.get(change.address, "")
        parts = source_parts(source)
        if parts is None or parts[0] not in self._contents:
            raise InvalidInput.of(
                "E_SOURCE_MISSING",
                "the record that is to be written is not at hand",
                path=str(address),
                got=source or None,
                fix="plan again from the commit that declares it",
            )
        known = (parts[0], address.kind)
        if known not in self._read:
            self._read[known] = self._wished(self._contents[parts[0]], address)
        found = self._read[known]
        if found.slots[CONTENT] != change.after:
            raise InvalidInput.of(
                "E_RECORD_CONTENT",
                "the record that is to be written is not the one that was planned",
                path=str(address),
                got=str(found.slots[CONTENT]),
                fix="plan again",
            )
        return found

    def _wished(self, content: bytes, address: Address) -> Wished:
        try:
            record = decode(content)
        except Malformed as error:
            raise InvalidInput.of(
                "E_RECORD_CONTENT", f"the record cannot be read: {error}", path=str(address)
            ) from error
        if not isinstance(record, dict) or CREATED in record:
            raise InvalidInput.of(
                "E_RECORD_CONTENT", f"a record is a map, here without {CREATED}", path=str(address)
            )
        return Wished(content, record, slots_of(self.did, address.kind, record))


class Standing(Enum):
    """Where the live values of a step's changes are."""

    BEFORE = "before"
    AFTER = "after"
    BETWEEN = "between"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Write:
    """One operation: what becomes of one record; a deleted one has neither record nor CID."""

    key: Key
    action: str
    record: Record | None = None
    cid: str = ""
    slots: Slots = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The operation as `com.atproto.repo.applyWrites` takes it."""
        named: dict[str, object] = {
            "$type": _OPERATION + self.action,
            "collection": COLLECTIONS[self.key.kind],
            "rkey": self.key.key,
        }
        return named if self.record is None else {**named, "value": to_json(self.record)}


def by_address(changes: Iterable[Change]) -> dict[Address, list[Change]]:
    """The changes of each address, in their order."""
    found: dict[Address, list[Change]] = {}
    for change in changes:
        found.setdefault(change.address, []).append(change)
    return found


def content_change(changes: Sequence[Change]) -> Change | None:
    """The change that decides what is written; None where only what follows from it is named."""
    return next((change for change in changes if change.slot == CONTENT), None)


def live_slots(reading: Reading, address: Address) -> Slots:
    """The slots of an address as they stand."""
    stored = reading.records.get(Key(address.kind, address.key))
    return NOTHING if stored is None else stored.slots


def standing(reading: Reading, step: Step) -> Standing:
    """Where the records of a step are."""
    seen = set()
    for change in step.changes:
        value = live_slots(reading, change.address).get(change.slot)
        if change.slot == ENTRIES:
            continue
        if value == change.after:
            seen.add(Standing.AFTER)
        elif value == change.before:
            seen.add(Standing.BEFORE)
        else:
            return Standing.ELSEWHERE
    if not seen:
        return Standing.AFTER
    return seen.pop() if len(seen) == 1 else Standing.BETWEEN


def writes_of(step: Step, reading: Reading, wishes: Wishes, times: Times) -> list[Write]:
    """The operations that lead from what stands to what the step leaves.

    Raises:
        InvalidInput: E_SOURCE_MISSING or E_RECORD_CONTENT.
    """
    newest = times.newest(reading, (change.after for change in step.changes if change.slot == NAME))
    found: list[Write] = []
    for address, changes in by_address(step.changes).items():
        change, key = content_change(changes), Key(address.kind, address.key)
        live = reading.records.get(key)
        if change is None or (live is not None and live.slots.get(CONTENT) == change.after):
            continue
        if change.after is None:
            found += [] if live is None else [Write(key, "delete")]
            continue
        wished = wishes.record(step, change)
        created = None if live is None else live.created
        if created is None:
            created = times.created(key, wished.slots, newest)
        record = {**wished.record, CREATED: created}
        action = "create" if live is None else "update"
        found.append(Write(key, action, record, cid_of(encode(record)), wished.slots))
    return found


def advanced(reading: Reading, writes: Iterable[Write], head: Head) -> Reading:
    """What stands after some operations; which entries use a schema is left for the next reading."""
    records = dict(reading.records)
    for write in writes:
        if write.record is None:
            records.pop(write.key, None)
        else:
            records[write.key] = Stored(write.cid, write.record, write.slots)
    return Reading(head, records)
