"""When a new record says that it was created: what a reader who names no version gets.

Such a reader takes the label of a name that was created last, by the text of `createdAt` (contract A3). All
records of one run have the time of the run, so labels of one name that a run makes are set apart by a
thousandth of a second each, in the order of their versions: first texts that are no SemVer version, then
pre-releases, then releases, so that the highest release is the newest. A label also comes after those of its
name that stand there already, which two runs within one second would not give by themselves; one that is
dated far ahead of the run is not followed into the future.

Everything follows from the steps of the run and from what stood before it, so a run that is finished by
another process dates its records alike. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from reconciler.errors import InvalidInput
from reconciler.model import Slots, Step, Value
from reconciler.reference import parse_version
from reconciler.stores.atproto.keys import LABEL
from reconciler.stores.atproto.order import CONTENT, NAME, VERSION
from reconciler.stores.atproto.repository import Key, Reading

_TICK: Final = timedelta(milliseconds=1)
_AHEAD: Final = timedelta(hours=1)
"""How far the clocks of two writers may differ."""


class Times(NamedTuple):
    """The time of a run in seconds, and for each label that it makes how many of its name come before."""

    seconds: int
    places: Mapping[Key, int]

    def created(self, key: Key, slots: Slots, newest: Mapping[Value, datetime]) -> str:
        """When a new record says that it was created, after the newest label of its name."""
        run = datetime.fromtimestamp(self.seconds, UTC)
        last = newest.get(slots.get(NAME, "")) if key.kind == LABEL else None
        begin = run if last is None or not run <= last <= run + _AHEAD else last + _TICK
        return _text(begin + self.places.get(key, 0) * _TICK)

    def newest(self, reading: Reading, names: Iterable[Value | None]) -> dict[Value, datetime]:
        """For some names, when the newest label that this run did not make was created."""
        wanted, found = frozenset(names), dict[Value, datetime]()
        for key, stored in reading.records.items():
            name = stored.slots.get(NAME) if key.kind == LABEL else None
            if name is None or name not in wanted or key in self.places:
                continue
            moment = _moment(stored.created or "")
            if moment is not None:
                found[name] = max(moment, found.get(name, moment))
        return found


def times_of(seconds: int, steps: Iterable[Step]) -> Times:
    """The times of the records that the steps of one run make."""
    made: dict[Value, list[tuple[tuple[int, str, str], Key]]] = {}
    for step in steps:
        after = {(change.address, change.slot): change.after for change in step.changes}
        for change in step.changes:
            address = change.address
            if address.kind == LABEL and change.slot == CONTENT and change.before is None:
                name, version = after.get((address, NAME)) or "", after.get((address, VERSION))
                labels = made.setdefault(name, [])
                labels.append((_order(str(version or "")), Key(address.kind, address.key)))
    places = {key: place for labels in made.values() for place, (_, key) in enumerate(sorted(labels))}
    return Times(seconds, places)


def timestamp(seconds: int) -> str:
    """A time as records have it (https://atproto.com/specs/lexicon#datetime)."""
    return _text(datetime.fromtimestamp(seconds, UTC))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _moment(text: str) -> datetime | None:
    """A time that somebody wrote, in whole thousandths of a second; None where it is none.

    As a text, a second without a fraction comes after every fraction of it.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found.replace(microsecond=found.microsecond // 1000 * 1000 if "." in text else 999_000)


def _order(version: str) -> tuple[int, str, str]:
    try:
        found = parse_version(version)
    except InvalidInput:
        return (0, version, "")
    return (1 if found.prerelease else 2, found.precedence, version)
