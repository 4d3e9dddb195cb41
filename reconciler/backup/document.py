"""What a backup is: a small document that names an index, which names groups, which name parts.

A part is one file of a store, or what stands for one: a path, the sha256 of its bytes, their size, and how
it comes back. Parts that belong together (one dataset, some records of a ledger) form a group. Bytes,
groups and the index are kept under their sha256, so that what did not change is kept once; the document
of a backup alone is new every time, and holds the sha256 of the one before it.

Every part is *durable*, and its bytes are kept, or *reconstructable*: its digest alone is kept, and after
a restore it is built anew and compared. What is *disposable* (locks, staging, trash, a server's cache) is
in no backup. Parts also have a phase: content comes back first, then the ledger, then what lists
content, and what points into that list last of all.

Encodes, decodes and checks; opens nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from reconciler.canonical import canonical
from reconciler.errors import Corrupt
from reconciler.model import Digest, digest_problem

SCHEMA: Final = "reconciler/backup/v1"
INDEX_SCHEMA: Final = "reconciler/backup-index/v1"
GROUP_SCHEMA: Final = "reconciler/backup-group/v1"
DOCUMENT_LIMIT: Final = 1 << 20
INDEX_LIMIT: Final = 256 << 20


class Durability(StrEnum):
    """How a part comes back: its own bytes, or built anew and compared."""

    DURABLE = "durable"
    RECONSTRUCTABLE = "reconstructable"


class Phase(IntEnum):
    """When a part comes back; what refers to something comes after it."""

    CONTENT = 0
    LEDGER = 1
    CATALOG = 2
    ALIAS = 3


class Part(NamedTuple):
    """One file of a store, as a backup holds it."""

    path: str
    phase: Phase
    durability: Durability
    digest: Digest
    size: int


class GroupRef(NamedTuple):
    """A group as the index names it: its key, its document's digest, and how many parts and bytes it has."""

    key: str
    digest: Digest
    parts: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup of one store.

    Attributes:
        store: the store's name.
        kind: its kind.
        settings: its settings as git has them; a variable's name, never its value.
        number: counts the backups of this store in this archive, from 1.
        previous: the digest of the document before it; None of the first.
        time: when it was made, in Unix seconds.
        tool: what made it.
        commit: the commit that was read for settings and configuration; empty where there was none.
        records: how many records the ledger holds.
        ledger: the digest of the last outcome, None without a record.
        heads: the digests of the mutable heads.
        configuration: the digests of the repository's files that are kept as well, by path.
        index: the digest of the index.
        parts: how many parts there are.
        size: the bytes of all parts together.
    """

    store: str
    kind: str
    settings: Mapping[str, Any]
    number: int
    previous: Digest | None
    time: int
    tool: str
    commit: str
    records: int
    ledger: str | None
    heads: Mapping[str, str]
    index: Digest
    parts: int
    size: int
    configuration: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How people call it."""
        return f"backup {self.number} of {self.store}"

    @property
    def release(self) -> str:
        """The release that it holds: the last closed record of the ledger."""
        return f"{self.store}#{self.records}"


class _BackupMembers(Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    store: str
    kind: str
    settings: dict[str, Any]
    number: int
    previous: str | None
    time: int
    tool: str
    commit: str
    records: int
    ledger: str | None
    heads: dict[str, str]
    configuration: dict[str, str]
    index: str
    parts: int
    size: int


class _IndexMembers(Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    groups: tuple[tuple[str, str, int, int], ...]


class _GroupMembers(Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    key: str
    parts: tuple[tuple[str, int, Durability, str, int], ...]


_backup, _index, _group = Decoder(_BackupMembers), Decoder(_IndexMembers), Decoder(_GroupMembers)
_UNREADABLE = (DecodeError, ValueError, RecursionError)


def backup_bytes(backup: Backup) -> bytes:
    """The canonical bytes of a backup's document."""
    return canonical(
        {
            "schema": SCHEMA,
            "store": backup.store,
            "kind": backup.kind,
            "settings": dict(backup.settings),
            "number": backup.number,
            "previous": backup.previous,
            "time": backup.time,
            "tool": backup.tool,
            "commit": backup.commit,
            "records": backup.records,
            "ledger": backup.ledger,
            "heads": dict(backup.heads),
            "configuration": dict(backup.configuration),
            "index": backup.index,
            "parts": backup.parts,
            "size": backup.size,
        }
    )


def read_backup(data: bytes, *, store: str, number: int, where: str) -> Backup:
    """Decode the document of one backup.

    Raises:
        Corrupt: E_BACKUP_DOCUMENT, it is not that of this store and number, or not canonical.
    """
    try:
        members = _backup.decode(data)
    except _UNREADABLE as error:
        raise broken(where, "cannot be read") from error
    if members.schema != SCHEMA or (members.store, members.number) != (store, number):
        raise broken(where, f"is not that of backup {number} of {store}")
    backup = Backup(
        store=members.store,
        kind=members.kind,
        settings=members.settings,
        number=members.number,
        previous=None if members.previous is None else _digest(members.previous, where),
        time=members.time,
        tool=members.tool,
        commit=members.commit,
        records=members.records,
        ledger=members.ledger,
        heads=members.heads,
        configuration={path: _digest(digest, where) for path, digest in members.configuration.items()},
        index=_digest(members.index, where),
        parts=members.parts,
        size=members.size,
    )
    if backup_bytes(backup) != data:
        raise broken(where, "is not in canonical form")
    return backup


def index_bytes(groups: Iterable[GroupRef]) -> bytes:
    """The canonical bytes of an index; groups come by key."""
    return canonical({"schema": INDEX_SCHEMA, "groups": [list(group) for group in sorted(groups)]})


def read_index(data: bytes, where: str) -> tuple[GroupRef, ...]:
    """Decode an index, whose bytes are those of its digest already.

    Raises:
        Corrupt: E_BACKUP_DOCUMENT.
    """
    try:
        members = _index.decode(data)
    except _UNREADABLE as error:
        raise broken(where, "has an index that cannot be read") from error
    if members.schema != INDEX_SCHEMA:
        raise broken(where, "has an index of another version")
    return tuple(
        GroupRef(key, _digest(digest, where), parts, size) for key, digest, parts, size in members.groups
    )


def group_bytes(key: str, parts: Iterable[Part]) -> bytes:
    """The canonical bytes of a group; parts come by path."""
    listed = [[part.path, int(part.phase), part.durability.value, *part[3:]] for part in sorted(parts)]
    return canonical({"schema": GROUP_SCHEMA, "key": key, "parts": listed})


def read_group(data: bytes, key: str, where: str) -> tuple[Part, ...]:
    """Decode a group, whose bytes are those of its digest already.

    Raises:
        Corrupt: E_BACKUP_DOCUMENT, also for a path that could leave the store.
    """
    try:
        members = _group.decode(data)
        parts = tuple(
            Part(path, Phase(phase), durability, _digest(digest, where), size)
            for path, phase, durability, digest, size in members.parts
        )
    except _UNREADABLE as error:
        raise broken(where, f"has a group that cannot be read: {key[:80]!a}") from error
    if members.schema != GROUP_SCHEMA or members.key != key:
        raise broken(where, f"has another group under the name {key[:80]!a}")
    odd = next((part.path for part in parts if not is_plain(part.path)), None)
    if odd is not None:
        raise broken(where, f"names a path that leaves its store: {odd[:80]!a}")
    return parts


def is_plain(path: str) -> bool:
    """Whether a path stays below the place it starts from, on every system."""
    return (
        path.isascii()
        and path.isprintable()
        and "\\" not in path
        and all(name not in {"", ".", ".."} and len(name) <= 255 for name in path.split("/"))
    )


def _digest(text: str, where: str) -> Digest:
    if digest_problem(text):
        raise broken(where, f"names something that is no digest: {text[:80]!a}")
    return Digest(text)


def broken(where: str, what: str) -> Corrupt:
    """The error of a backup's document that is not what it must be."""
    return Corrupt.of(
        "E_BACKUP_DOCUMENT",
        f"the document of this backup {what}",
        path=where,
        fix="use another backup; 'reconciler backup verify' says which are whole",
    )
