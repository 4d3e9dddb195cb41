"""The place where backups are kept, as a port, and how documents are read from it.

An archive holds objects under the sha256 of their bytes, and few documents by name::

    objects/ab/ab12…                      bytes: of parts, groups and indexes
    backups/STORE/00000000000000000001.json    the document of one backup, put only if there is none
    verified/STORE/00000000000000000001.json   what the last verification of it found
    known/STORE.json                      which bytes stood under which stamps: saves reading them again

Everything that is read is compared with the digest it was asked by. An object that is missing or differs
is corruption of the backup (exit 8); an archive that cannot be read is not (exit 10).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

from reconciler.backup.document import (
    DOCUMENT_LIMIT,
    INDEX_LIMIT,
    Backup,
    GroupRef,
    Part,
    read_backup,
    read_group,
    read_index,
)
from reconciler.canonical import sha256_digest
from reconciler.errors import Corrupt, InvalidInput
from reconciler.ledger import SEQUENCE_DIGITS
from reconciler.model import Digest
from reconciler.stores.keeping import Chunks

_SUFFIX: Final = ".json"
_NAME = re.compile(rf"[0-9]{{{SEQUENCE_DIGITS}}}\.json", re.ASCII)


class Archive(Protocol):
    """Where backups are kept."""

    @property
    def where(self) -> str:
        """Its place, for messages; never holds a secret."""

    def writing(self) -> AbstractContextManager[None]:
        """Hold off other writers of this archive, as far as it can, and make it if it may be made.

        Raises:
            Conflict: E_LOCKED.
            InvalidInput: E_ARCHIVE, something else stands in its place.
        """

    def sizes(self) -> Mapping[Digest, int]:
        """Every object with its size."""

    def put(self, digest: Digest, chunks: Chunks) -> None:
        """Keep an object; one of the same size that stands there already is left alone.

        Raises:
            Corrupt: E_BACKUP_SOURCE, the bytes are not those of the digest; nothing was put.
            Unavailable: it could not be kept.
        """

    def chunks(self, digest: Digest) -> Iterator[bytes] | None:
        """The bytes of an object as they stand there; None if there is none.

        Raises:
            Unavailable: it cannot be read.
        """

    def settle(self) -> None:
        """Make everything durable that was put."""

    def names(self, folder: str) -> list[str]:
        """The names of the documents in a folder, sorted; none if there is no such folder."""

    def read(self, name: str, limit: int) -> bytes | None:
        """The bytes of a document; None if there is none."""

    def create(self, name: str, data: bytes) -> None:
        """Put a document if there is none.

        Raises:
            Conflict: E_CONFLICT, there is one.
        """

    def replace(self, name: str, data: bytes) -> None:
        """Give a document new bytes at once."""


class Found(NamedTuple):
    """A backup and the digest of its document."""

    backup: Backup
    digest: Digest


def document_name(folder: str, store: str, number: int) -> str:
    """The name of a document that is about one backup."""
    return f"{folder}/{store}/{number:0{SEQUENCE_DIGITS}d}{_SUFFIX}"


def numbers(archive: Archive, store: str) -> list[int]:
    """The numbers of the backups of a store, in order.

    Raises:
        Corrupt: E_BACKUP_CHAIN, one between two others is gone.
    """
    found = [
        int(name[:SEQUENCE_DIGITS]) for name in archive.names(f"backups/{store}") if _NAME.fullmatch(name)
    ]
    if found and found != list(range(found[0], found[-1] + 1)):
        gone = next(number for number in range(found[0], found[-1]) if number not in set(found))
        raise Corrupt.of(
            "E_BACKUP_CHAIN",
            f"backup {gone} of {store} is gone, and later ones stand",
            path=archive.where,
            fix="bring its document back; only the oldest backups may be let go",
        )
    return found


def read_found(archive: Archive, store: str, number: int) -> Found:
    """One backup by its number.

    Raises:
        InvalidInput: E_BACKUP_MISSING.
        Corrupt: E_BACKUP_DOCUMENT.
    """
    name = document_name("backups", store, number)
    data = archive.read(name, DOCUMENT_LIMIT)
    if data is None:
        raise missing(archive, store, str(number))
    backup = read_backup(data, store=store, number=number, where=f"{archive.where}/{name}")
    return Found(backup, Digest(sha256_digest(data)))


def newest(archive: Archive, store: str) -> Found | None:
    """The newest backup of a store; None if there is none."""
    known = numbers(archive, store)
    return read_found(archive, store, known[-1]) if known else None


def chosen(archive: Archive, store: str, number: int | None) -> Found:
    """The backup of a number, or the newest.

    Raises:
        InvalidInput: E_BACKUP_MISSING.
    """
    if number is not None:
        return read_found(archive, store, number)
    found = newest(archive, store)
    if found is None:
        raise missing(archive, store, "none")
    return found


def missing(archive: Archive, store: str, got: str) -> InvalidInput:
    """The refusal of a backup that is not there."""
    return InvalidInput.of(
        "E_BACKUP_MISSING",
        f"the archive holds no such backup of {store}",
        path=archive.where,
        got=got,
        fix="make one with 'reconciler backup create', or name the archive that holds it",
    )


def object_bytes(archive: Archive, digest: Digest, of: str, limit: int = INDEX_LIMIT) -> bytes:
    """The bytes of an object, compared with its digest.

    Args:
        archive: where it is kept.
        digest: its digest.
        of: what it is, for the error.
        limit: the most bytes that it may have.

    Raises:
        Corrupt: E_BACKUP_OBJECT.
    """
    chunks = archive.chunks(digest)
    if chunks is None:
        raise Corrupt.of(*object_gone(digest, of), path=archive.where, fix=_FIX)
    data = bytearray()
    hashed = hashlib.sha256()
    for chunk in chunks:
        hashed.update(chunk)
        data += chunk
        if len(data) > limit:
            break
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise Corrupt.of(*object_differs(digest, of), path=archive.where, fix=_FIX)
    return bytes(data)


_FIX: Final = (
    "use another backup; 'reconciler backup create --deep' of the same store puts the right bytes back"
)


def object_gone(digest: Digest, of: str) -> tuple[str, str]:
    """The code and sentence for an object that is missing."""
    return "E_BACKUP_OBJECT", f"object {digest} is gone; it is {of}"


def object_differs(digest: Digest, of: str) -> tuple[str, str]:
    """The code and sentence for an object whose bytes changed."""
    return "E_BACKUP_OBJECT", f"object {digest} has other bytes than its name says; it is {of}"


def read_groups(archive: Archive, found: Found) -> tuple[GroupRef, ...]:
    """The groups of a backup.

    Raises:
        Corrupt: E_BACKUP_OBJECT or E_BACKUP_DOCUMENT.
    """
    data = object_bytes(archive, found.backup.index, f"the index of {found.backup.name}")
    return read_index(data, archive.where)


def read_parts(archive: Archive, group: GroupRef) -> tuple[Part, ...]:
    """The parts of a group.

    Raises:
        Corrupt: E_BACKUP_OBJECT or E_BACKUP_DOCUMENT.
    """
    data = object_bytes(archive, group.digest, f"the list of parts of {group.key}")
    return read_group(data, group.key, archive.where)
