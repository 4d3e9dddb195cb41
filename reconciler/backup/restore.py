"""Bringing a backup back into an empty place, part by part, what readers use last.

The order is that of the phases: content, ledger, catalog, alias. Within each the kept bytes come first,
then what is built anew from them and compared. Every part is compared with its digest before it gets its
name, so a broken backup never looks like a store: the run ends naming the object, and what came back so
far is found again by the next attempt.

A restored store is marked until a drill proved it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from reconciler.backup.archive import Archive, Found, object_gone
from reconciler.backup.document import Durability, Part, Phase
from reconciler.backup.verify import all_parts
from reconciler.errors import Corrupt
from reconciler.stores.keeping import Keeper, Restoring


class Brought(NamedTuple):
    """What a restore did: parts and bytes that it put, and parts that an earlier attempt had put."""

    parts: int
    size: int
    found: int


def restore(archive: Archive, found: Found, store: Keeper, progress: Callable[[str], None]) -> Brought:
    """Bring a backup back.

    Args:
        archive: where it is kept.
        found: the backup.
        store: an open store whose place is empty.
        progress: told now and then.

    Raises:
        InvalidInput: E_RESTORE_PLACE, the place is not empty.
        Corrupt: the backup is broken (E_BACKUP_OBJECT, E_BACKUP_DOCUMENT), or what came back is not whole.
        Conflict, Unavailable: the place cannot be used.
    """
    ordered = _in_order(all_parts(archive, found))
    put = size = there = 0
    with store.restoring(found.digest) as place:
        for phase, parts in ordered.items():
            if phase is Phase.CATALOG:
                place.check()
            for part in parts:
                if place.holds(part):
                    there += 1
                    continue
                _bring(archive, place, part)
                put, size = put + 1, size + part.size
                if put % 10_000 == 0:
                    progress(f"restored {put} of {found.backup.parts} parts")
        place.finish()
    return Brought(put, size, there)


def _bring(archive: Archive, place: Restoring, part: Part) -> None:
    if part.durability is Durability.RECONSTRUCTABLE:
        place.rebuild(part)
    else:
        place.put(part, partial(_object, archive, part))


def _object(archive: Archive, part: Part) -> Iterator[bytes]:
    chunks = archive.chunks(part.digest)
    if chunks is None:
        raise Corrupt.of(
            *object_gone(part.digest, part.path), path=archive.where, fix="restore another backup"
        )
    return chunks


def _in_order(parts: Iterator[tuple[str, Part]]) -> dict[Phase, list[Part]]:
    """Parts by the phase in which they come back; what is built anew after what it is built from."""
    ordered: dict[Phase, list[Part]] = {phase: [] for phase in Phase}
    for _, part in parts:
        ordered[part.phase].append(part)
    for phase in ordered.values():
        phase.sort(key=lambda part: (part.durability is Durability.RECONSTRUCTABLE, part.path))
    return ordered
