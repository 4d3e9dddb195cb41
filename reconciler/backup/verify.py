"""Verifying a backup where it is kept: every object that it needs is there and has the bytes of its name.

Nothing is restored and nothing of the store is read. Objects that several parts share are read once. Every
object that is missing or differs is named together with what it is in the store, so that a person knows
what a restore would lack. What was found is put beside the backup: `recovery plan` counts a backup only
when its newest verification found it whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.backup.archive import (
    Archive,
    Found,
    document_name,
    object_differs,
    object_gone,
    read_groups,
    read_parts,
)
from reconciler.backup.document import DOCUMENT_LIMIT, Durability, Part, Phase
from reconciler.canonical import canonical, parse_strict
from reconciler.errors import Corrupt, InvalidInput, Problem
from reconciler.model import Digest

SCHEMA: Final = "reconciler/backup-verified/v1"
_NAMED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found.

    Attributes:
        backup: the digest of the backup's document.
        time: when, in Unix seconds.
        objects: how many objects were read.
        size: their bytes.
        problems: what is wrong; nothing, if it is whole.
    """

    backup: Digest
    time: int
    objects: int
    size: int
    problems: tuple[Problem, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether a restore would get everything."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The stable keys of the document."""
        return {
            "schema": SCHEMA,
            "backup": self.backup,
            "time": self.time,
            "objects": self.objects,
            "bytes": self.size,
            "whole": self.whole,
            "problems": [str(problem) for problem in self.problems],
        }


@dataclass(slots=True)
class _Reading:
    archive: Archive
    checked: dict[Digest, bool] = field(default_factory=dict)
    size: int = 0
    problems: list[Problem] = field(default_factory=list)

    def part(self, part: Part, group: str) -> None:
        """Read the object of a durable part, unless another part had it before."""
        if part.durability is Durability.RECONSTRUCTABLE or self.checked.get(part.digest):
            return
        code, message = self._fault(part, f"{part.path} of {group}") or ("", "")
        self.checked[part.digest] = not code
        if code:
            fix = "run 'reconciler backup create --deep' while the store has the file, or use another backup"
            self.problems.append(Problem(code=code, message=message, path=self.archive.where, fix=fix))

    def _fault(self, part: Part, of: str) -> tuple[str, str] | None:
        chunks = self.archive.chunks(part.digest)
        if chunks is None:
            return object_gone(part.digest, of)
        hashed = hashlib.sha256()
        for chunk in chunks:
            hashed.update(chunk)
            self.size += len(chunk)
        return None if f"sha256:{hashed.hexdigest()}" == part.digest else object_differs(part.digest, of)


def all_parts(archive: Archive, found: Found) -> Iterator[tuple[str, Part]]:
    """Every part of a backup with the key of its group.

    Raises:
        Corrupt: the index or a group is gone or broken.
    """
    for group in read_groups(archive, found):
        for part in read_parts(archive, group):
            yield group.key, part


def verify(archive: Archive, found: Found, *, time: int, progress: Callable[[str], None]) -> Verified:
    """Read everything that a backup needs.

    Args:
        archive: where it is kept.
        found: the backup.
        time: what the report says of when.
        progress: told now and then.

    Raises:
        Unavailable: the archive cannot be read; that is no verdict on the backup.
    """
    reading = _Reading(archive)
    try:
        groups = read_groups(archive, found)
    except Corrupt as error:
        groups, reading.problems = (), [*error.problems]
    for path, digest in sorted(found.backup.configuration.items()):
        reading.part(Part(path, Phase.CONTENT, Durability.DURABLE, Digest(digest), 0), "the configuration")
    parts = size = 0
    for place, group in enumerate(groups):
        try:
            listed = read_parts(archive, group)
        except Corrupt as error:
            reading.problems += error.problems
            continue
        parts, size = parts + len(listed), size + sum(part.size for part in listed)
        for part in listed:
            reading.part(part, group.key)
        if place % 1000 == 999:
            progress(f"verified {place + 1} of {len(groups)} groups")
    if not reading.problems and (parts, size) != (found.backup.parts, found.backup.size):
        reading.problems.append(_incomplete(archive, found))
    return Verified(
        backup=found.digest,
        time=time,
        objects=len(reading.checked) + len(groups) + 1,
        size=reading.size,
        problems=tuple(reading.problems),
    )


def _incomplete(archive: Archive, found: Found) -> Problem:
    return Problem(
        code="E_BACKUP_DOCUMENT",
        message=f"{found.backup.name} does not have the parts and bytes that it states",
        path=archive.where,
        fix="use another backup",
    )


def remember(archive: Archive, found: Found, verified: Verified) -> None:
    """Put what was found beside the backup."""
    name = document_name("verified", found.backup.store, found.backup.number)
    document = verified.to_json()
    document["problems"] = document["problems"][:_NAMED]
    archive.replace(name, canonical(document))


def last_verified(archive: Archive, found: Found) -> Verified | None:
    """What the last verification of a backup found; None if there was none, or it cannot be used."""
    name = document_name("verified", found.backup.store, found.backup.number)
    data = archive.read(name, DOCUMENT_LIMIT)
    if data is None:
        return None
    try:
        document: Mapping[str, Any] = parse_strict(data, where=name)
        if document["schema"] != SCHEMA or document["backup"] != found.digest:
            return None
        problems = tuple(Problem(code="E_BACKUP_OBJECT", message=str(text)) for text in document["problems"])
        return Verified(
            backup=found.digest,
            time=int(document["time"]),
            objects=int(document["objects"]),
            size=int(document["bytes"]),
            problems=problems,
        )
    except (InvalidInput, KeyError, TypeError, ValueError):
        return None
