"""A local index of atdata as a source of promotions: its SQLite tables, read and never written.

An entry is looked up by its CID, or by the name or label that a person gives. Its CID is computed again from
its schema reference and URLs (contract A1) and must be the key it stands under, so that what is promoted is
what was pinned. Names are not unique there; a reference without a version takes the label that was moved
last, and a name without any label must name one entry.

Reading leaves no trace, not even SQLite's own side files. Where a writer is at work its shared memory is
used; where nobody is, the file is read as it lies and looked at again afterwards; where a writer was killed
and left its log behind, a copy is recovered in a private directory.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from msgspec import MsgspecError
from msgspec.msgpack import decode

from reconciler.canonical import parse_strict
from reconciler.errors import Corrupt, InvalidInput, Unavailable
from reconciler.stores.atproto.dagcbor import cid_of, encode
from reconciler.stores.atproto.metadata import decoded_metadata

_MAGIC: Final = b"SQLite format 3\0"
_TABLES: Final = ("dataset_entries", "labels", "schemas")
_TRIES: Final = 3
_LOCAL: Final = ("atdata://local/schema/", "local://schemas/")
_PREFIXES: Final = ("atdata://local/dataset/", "atdata://local/", "@local/", "local/")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One entry as the index holds it; `cid` was computed again and agrees."""

    cid: str
    name: str
    schema_ref: str
    urls: tuple[str, ...]
    metadata: Mapping[str, Any]


class SchemaName(NamedTuple):
    """What a schema reference names."""

    name: str
    version: str


def entry_cid(schema_ref: str, urls: tuple[str, ...]) -> str:
    """The CID of an entry: of its schema reference and its URLs, and of nothing else (contract A1)."""
    return cid_of(encode({"schema_ref": schema_ref, "data_urls": list(urls)}))


def schema_name(reference: str) -> SchemaName:
    """The name and version of a local schema reference, in its present or its older form.

    Raises:
        InvalidInput: E_SCHEMA_REF.
    """
    for prefix in _LOCAL:
        if reference.startswith(prefix):
            name, at, version = reference.removeprefix(prefix).rpartition("@")
            if at and name and version and "/" not in name:
                return SchemaName(name.rpartition(".")[2], version)
    raise InvalidInput.of(
        "E_SCHEMA_REF",
        "this is no reference to a schema of a local index",
        got=reference,
        fix="atdata://local/schema/NAME@VERSION",
    )


class AtdataIndex:
    """One index, opened for reading."""

    def __init__(self, database: sqlite3.Connection, where: str) -> None:
        self._database = database
        self._where = where

    def pinned(self, entry: str, cid: str) -> IndexEntry:
        """The entry that a document pins.

        Raises:
            InvalidInput: E_ENTRY_UNKNOWN, the index has no such entry; E_CID_MISMATCH, it has one of this
                name, but another is pinned.
            Corrupt: E_CID_MISMATCH, what stands there is not what its CID says.
        """
        name, _ = _parted(entry)
        row = self._one(
            "SELECT cid, name, schema_ref, data_urls, metadata FROM dataset_entries WHERE cid = ?", cid
        )
        if row is not None:
            found = self._entry(row)
            if found.name == name or self._one("SELECT 1 FROM labels WHERE name = ? AND cid = ?", name, cid):
                return found
            raise InvalidInput.of(
                "E_CID_MISMATCH",
                f"the entry with this CID is named otherwise in {self._where}",
                got=found.name,
                fix="name the entry that is meant",
            )
        there = self._cids(name)
        if not there:
            raise _unknown(entry, self._where)
        raise InvalidInput.of(
            "E_CID_MISMATCH",
            f"the entry in {self._where} is not the one that is pinned",
            got=there[0],
            fix="review what changed, and pin this CID",
        )

    def find(self, reference: str) -> IndexEntry:
        """The entry that a person names: its CID, its name, or a label's name and version.

        Raises:
            InvalidInput: E_ENTRY_UNKNOWN; E_ENTRY_AMBIGUOUS, the name alone stands for several.
            Corrupt: E_CID_MISMATCH.
        """
        name, version = _parted(reference)
        query = "SELECT cid, name, schema_ref, data_urls, metadata FROM dataset_entries WHERE cid = ?"
        row = self._one(query, reference) or self._one(query, self._labelled(name, version))
        if row is None and not version:
            cids = self._cids(name)
            if len(cids) > 1:
                raise InvalidInput.of(
                    "E_ENTRY_AMBIGUOUS",
                    f"several entries of {self._where} have this name and none has a label",
                    got=reference,
                    fix=f"name its CID: {' or '.join(cids[:3])}",
                )
            row = self._one(query, cids[0]) if cids else None
        if row is None:
            raise _unknown(reference, self._where)
        return self._entry(row)

    def label_of(self, entry: IndexEntry, reference: str) -> str:
        """The version of the label that names an entry, as it was asked for or moved last; empty if none."""
        _, version = _parted(reference)
        if version:
            return version
        order = "ORDER BY created_at DESC, rowid DESC LIMIT 1"
        query = f"SELECT version FROM labels WHERE name = ? AND cid = ? {order}"  # noqa: S608 - fixed text
        row = self._one(query, entry.name, entry.cid)
        return "" if row is None else str(row[0])

    def schema(self, reference: str) -> dict[str, Any]:
        """A schema as JSON.

        Raises:
            InvalidInput: E_SCHEMA_REF; E_SCHEMA_UNKNOWN, the index does not hold it; the codes of JSON.
        """
        name, version = schema_name(reference)
        row = self._one("SELECT schema_json FROM schemas WHERE name = ? AND version = ?", name, version)
        if row is None:
            raise InvalidInput.of(
                "E_SCHEMA_UNKNOWN",
                f"{self._where} has no such schema",
                got=reference,
                fix="publish the schema to the index",
            )
        document = parse_strict(str(row[0]).encode(), where=f"{self._where}: {reference}")
        if not isinstance(document, dict):
            raise InvalidInput.of("E_JSON_ROOT", "a schema is a JSON object", path=self._where, got=reference)
        return document

    def _labelled(self, name: str, version: str) -> str:
        """The CID that a label names; without a version, the one that was moved last."""
        order = "ORDER BY created_at DESC, rowid DESC LIMIT 1"
        row = (
            self._one("SELECT cid FROM labels WHERE name = ? AND version = ?", name, version)
            if version
            else self._one(f"SELECT cid FROM labels WHERE name = ? {order}", name)  # noqa: S608 - fixed text
        )
        return "" if row is None else str(row[0])

    def _cids(self, name: str) -> list[str]:
        rows = self._rows("SELECT cid FROM dataset_entries WHERE name = ? ORDER BY rowid DESC", name)
        return [str(row[0]) for row in rows]

    def _entry(self, row: tuple[Any, ...]) -> IndexEntry:
        cid, name, schema_ref, data_urls, metadata = row
        try:
            urls = tuple(decode(data_urls, type=list[str]))
        except (MsgspecError, TypeError, ValueError) as error:
            raise self._broken(cid, "its URLs cannot be read") from error
        if entry_cid(str(schema_ref), urls) != cid:
            raise self._broken(cid, "its schema reference and URLs have another CID")
        said = decoded_metadata(metadata, where=f"{self._where}: {name}") if metadata else {}
        return IndexEntry(
            cid=cid, name=str(name), schema_ref=str(schema_ref), urls=urls, metadata=MappingProxyType(said)
        )

    def _broken(self, cid: object, what: str) -> Corrupt:
        return Corrupt.of(
            "E_CID_MISMATCH",
            f"an entry of the index is broken: {what}",
            path=self._where,
            got=str(cid),
            fix="insert the dataset again with the tool that keeps the index",
        )

    def _one(self, query: str, *values: str) -> tuple[Any, ...] | None:
        return next(iter(self._rows(query, *values)), None)

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(self._where, str(error)) from error


def _parted(reference: str) -> tuple[str, str]:
    """The name and version of a reference such as `name`, `@local/name@1.0.0` or `atdata://local/…`."""
    for prefix in _PREFIXES:
        if reference.startswith(prefix):
            reference = reference.removeprefix(prefix)
            break
    name, _, version = reference.partition("@")
    return name, version


def _unknown(reference: str, where: str) -> InvalidInput:
    return InvalidInput.of(
        "E_ENTRY_UNKNOWN", f"{where} has no such entry", got=reference, fix="name an entry of the index"
    )


def _unreadable(where: str, why: str) -> Unavailable:
    return Unavailable.of("E_INDEX", f"the index cannot be read: {why}", path=where, fix="check the file")


@contextmanager
def open_index(path: Path, where: str) -> Iterator[AtdataIndex]:
    """Open an index for reading; nothing is written beside it.

    Args:
        path: of the SQLite file.
        where: how messages name it.

    Raises:
        Unavailable: E_INDEX, it is missing, no such index, or changed while it was read.
    """
    with _database(path, where) as database:
        try:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        except sqlite3.Error as error:
            raise _unreadable(where, str(error)) from error
        missing = sorted(set(_TABLES).difference(str(row[0]) for row in rows))
        if missing:
            raise _unreadable(where, f"it has no table {missing[0]}")
        yield AtdataIndex(database, where)


@contextmanager
def _database(path: Path, where: str) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, in the way that the files beside the database call for."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise _unreadable(where, error.strerror or "it cannot be opened") from error
    if head != _MAGIC:
        raise _unreadable(where, "it is not a SQLite database")
    log, memory = Path(f"{path}-wal"), Path(f"{path}-shm")
    if _size(log, where) and _size(memory, where):
        with _connected(path, "mode=ro", where) as database:
            database.execute("BEGIN")
            yield database
    elif _size(log, where):
        with tempfile.TemporaryDirectory(prefix="reconciler-index-") as private:
            copy = _copied(path, log, Path(private), where)
            with _connected(copy, "mode=rw", where) as database:
                database.execute("PRAGMA query_only = ON")
                yield database
    else:
        before = _stamp(path)
        with _connected(path, "mode=ro&immutable=1", where) as database:
            yield database
        if _stamp(path) != before or _size(log, where):
            raise _unreadable(where, "it was written to meanwhile; try again")


@contextmanager
def _connected(path: Path, mode: str, where: str) -> Iterator[sqlite3.Connection]:
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _unreadable(where, str(error)) from error
    try:
        yield database
    finally:
        database.close()


def _copied(path: Path, log: Path, private: Path, where: str) -> Path:
    """A copy of the database and its log that belong together."""
    for _ in range(_TRIES):
        before = (_stamp(path), _stamp(log))
        try:
            for file in (path, log):
                shutil.copyfile(file, private / file.name)
        except OSError as error:
            raise _unreadable(where, error.strerror or "it cannot be copied") from error
        if (_stamp(path), _stamp(log)) == before:
            return private / path.name
    raise _unreadable(where, "it is being written to; try again")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        seen = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns)


def _size(path: Path, where: str) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unreadable(where, error.strerror or "it cannot be looked at") from error
