"""The catalog of a serving store: which datasets are discoverable, and where they say they stand.

Decides what `catalog.json` means (contract 2.2) and how strictly it is read (contract 11): non-canonical
bytes, a missing `model_version`, `diff_artifacts` and foreign paths are accepted as the reference accepts
them; unknown or repeated members, unsorted entries, one dataset listed twice, ids outside the grammar and
blank paths are refused, although the reference takes most of them.

A catalog of 100,000 entries is 29 MB, so an entry in our own canonical form is recognised by one pattern
and never becomes a JSON tree; it keeps no paths, because its id gives them. Every other entry is read by
the strict reader. Both ways give equal values.

Never opens a file, and never changes an entry that an edit does not name.

    >>> catalog = Catalog((Entry(DatasetId("110", "homo_sapiens", "GRCh38")),))
    >>> parse_catalog(encode_catalog(catalog)) == catalog
    True
"""

from __future__ import annotations

import hashlib
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from reconciler.canonical import canonical, parse_strict, sha256_hex, struct_order
from reconciler.errors import InvalidInput, Problem
from reconciler.model import NAME_LIMIT, DatasetId
from reconciler.stores.serving.documents import (
    GIVEN,
    DatasetMembers,
    Origin,
    convert,
    dataset_members,
    id_problem,
    read_as,
)

CATALOG = "catalog.json"
CATALOG_DIGEST = "catalog.sha256"
CATALOG_LIMIT = 512_000_000

_HEAD = b'{"datasets":['
_TAIL = b'],"model_version":"v1"}'
_CHUNK = 4096
_STANDARD = re.compile(
    rb'\{"dataset":\{"assembly":"(?P<a>(?!\.\.?")[A-Za-z0-9._]{1,64})","release":"(?P<r>[0-9]{1,16})",'
    rb'"species":"(?P<s>[a-z0-9]+(?:_[a-z0-9]+)*)"\},'
    rb'"manifest_path":"(?P<d>release=(?P=r)/species=(?P=s)/assembly=(?P=a)/derived/)manifest\.json",'
    rb'"sqlite_path":"(?P=d)gene_summary\.sqlite"\}'
)


class Paths(NamedTuple):
    """The two paths of a catalog entry, relative to the store's root."""

    manifest: str
    sqlite: str


class Entry(NamedTuple):
    """One dataset that the catalog lists; `paths` is None where they are the standard ones of its id."""

    id: DatasetId
    paths: Paths | None = None
    diffs: tuple[str, ...] = ()

    @property
    def manifest_path(self) -> str:
        """Where the entry says the manifest is."""
        return (self.paths or standard_paths(self.id)).manifest

    @property
    def sqlite_path(self) -> str:
        """Where the entry says the database is."""
        return (self.paths or standard_paths(self.id)).sqlite


_id_of = attrgetter("id")


class Catalog(NamedTuple):
    """The entries in the catalog's own order: release, species, assembly as bytes, which is address order."""

    entries: tuple[Entry, ...] = ()

    def find(self, dataset: DatasetId) -> Entry | None:
        """The entry of a dataset, or None if it is not listed."""
        index = bisect_left(self.entries, dataset, key=_id_of)
        if index < len(self.entries) and self.entries[index].id == dataset:
            return self.entries[index]
        return None

    def edited(self, edits: Mapping[DatasetId, Entry | None]) -> Catalog:
        """The catalog with some entries set and some (those given as None) taken out; one pass for many."""
        kept = [entry for entry in self.entries if entry.id not in edits]
        kept += [entry for entry in edits.values() if entry is not None]
        kept.sort(key=_id_of)
        return Catalog(tuple(kept))

    def with_entry(self, entry: Entry) -> Catalog:
        """The catalog with one entry set."""
        return self.edited({entry.id: entry})

    def without(self, dataset: DatasetId) -> Catalog:
        """The catalog without one dataset."""
        return self.edited({dataset: None})


EMPTY = Catalog()


def standard_paths(dataset: DatasetId) -> Paths:
    """The paths that promotion writes for a dataset (contract 2.2)."""
    release, species, assembly = dataset
    derived = f"release={release}/species={species}/assembly={assembly}/derived/"
    return Paths(f"{derived}manifest.json", f"{derived}gene_summary.sqlite")


def entry_of(dataset: DatasetId, paths: Paths | None = None, diffs: Iterable[str] = ()) -> Entry:
    """An entry in its one form: standard paths are not kept."""
    return Entry(dataset, None if paths == standard_paths(dataset) else paths, tuple(diffs))


class _EntryMembers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataset: DatasetMembers
    manifest_path: str
    sqlite_path: str
    diff_artifacts: tuple[str, ...] = ()


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    datasets: list[msgspec.Raw]
    model_version: str = "v1"


def parse_catalog(data: bytes, where: str = CATALOG, *, origin: Origin = GIVEN) -> Catalog:
    """Read a catalog strictly (contract 2.2, 11).

    Args:
        data: the bytes of the file.
        where: the path that errors name.
        origin: `LIVE_CATALOG` for the store's own file, which makes every refusal E_LIVE_CATALOG (8).

    Raises:
        InvalidInput: a code of `documents.decode`, E_SCHEMA_VERSION, E_CATALOG_ORDER, E_CATALOG_DUP,
            E_CATALOG_PATH, or an id's code; or the origin's class and code.
    """
    return read_as(origin, lambda: _parse(data, where))


def _parse(data: bytes, where: str) -> Catalog:
    if len(data) > CATALOG_LIMIT:
        raise InvalidInput.of("E_JSON_SIZE", f"the catalog is larger than {CATALOG_LIMIT} bytes", path=where)
    data = data.strip(b" \t\r\n") if data[-1:].isspace() else data
    standard = _parse_standard(data)
    entries = _parse_any(data, where) if standard is None else standard
    _check_order(entries, where)
    return Catalog(tuple(entries))


def _parse_standard(data: bytes) -> list[Entry] | None:
    """The entries of a catalog in canonical form with standard paths; None if any byte is otherwise."""
    if not (data.startswith(_HEAD) and data.endswith(_TAIL)):
        return None
    entries: list[Entry] = []
    end, position = len(data) - len(_TAIL), len(_HEAD)
    if position == end:
        return entries
    match, text = _STANDARD.match, _Texts()
    while found := match(data, position, end):
        assembly, release, species = found.group("a", "r", "s")
        if len(species) > NAME_LIMIT:
            return None
        entries.append(Entry(DatasetId(text[release], text[species], text[assembly])))
        position = found.end()
        if position == end:
            return entries
        if data[position] != ord(","):
            return None
        position += 1
    return None


class _Texts(dict[bytes, str]):
    """The text of each part of an id, one object for each: a catalog repeats them very often."""

    def __missing__(self, part: bytes) -> str:
        text = self[part] = sys.intern(part.decode("ascii"))
        return text


def _parse_any(data: bytes, where: str) -> list[Entry]:
    """The entries of any catalog that the reference accepts."""
    try:
        raw = msgspec.json.decode(data, type=_Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = parse_strict(data, where=where, limit=CATALOG_LIMIT)
        _check_version(document, where)
        convert(document, _Raw, where=where)
        raise InvalidInput.of("E_JSON_SYNTAX", "the catalog is not a JSON object", path=where) from None
    if raw.model_version != "v1":
        _check_version({"model_version": raw.model_version}, where)
    if not _is_plain_envelope(data, raw):
        parse_strict(data, where=where, limit=CATALOG_LIMIT)
    return [_entry(bytes(item), index, where) for index, item in enumerate(raw.datasets)]


def _is_plain_envelope(data: bytes, raw: _Raw) -> bool:
    """Whether nothing but the entries stands between our head and tail: no member can be repeated there."""
    outside = len(_HEAD) + len(_TAIL) + max(len(raw.datasets) - 1, 0)
    inside = sum(len(memoryview(item)) for item in raw.datasets)
    return data.startswith(_HEAD) and data.endswith(_TAIL) and outside + inside == len(data)


def _check_version(document: Any, where: str) -> None:  # noqa: ANN401 - JSON
    version = document.get("model_version", "v1") if isinstance(document, dict) else "v1"
    if version != "v1":
        raise InvalidInput.of(
            "E_SCHEMA_VERSION",
            "this model version is not supported",
            path=where,
            got=str(version),
            fix="use model_version v1",
        )


def _entry(data: bytes, index: int, where: str) -> Entry:
    found = _STANDARD.fullmatch(data)
    if found and len(found["s"]) <= NAME_LIMIT:
        return Entry(DatasetId(*(found[part].decode("ascii") for part in "rsa")))
    members = convert(parse_strict(data, where=where), _EntryMembers, where=f"{where}, entry {index + 1}")
    dataset = members.dataset.id
    problem = id_problem(dataset, where)
    if problem:
        raise InvalidInput(problem)
    if not members.manifest_path.strip() or not members.sqlite_path.strip():
        raise InvalidInput.of(
            "E_CATALOG_PATH", f"the entry of {dataset} has a blank path", path=where, fix="write both paths"
        )
    return entry_of(dataset, Paths(members.manifest_path, members.sqlite_path), members.diff_artifacts)


def _check_order(entries: list[Entry], where: str) -> None:
    for before, after in pairwise(entries):
        if before.id >= after.id:
            raise InvalidInput(_order_problem(before.id, after.id, where))


def _order_problem(before: DatasetId, after: DatasetId, where: str) -> Problem:
    if before == after:
        return Problem(
            code="E_CATALOG_DUP",
            message="a dataset is listed twice",
            path=where,
            got=str(after),
            fix="keep one entry per dataset",
        )
    return Problem(
        code="E_CATALOG_ORDER",
        message=f"the entries are not sorted: {after} stands after {before}",
        path=where,
        fix="sort by release, species and assembly as text",
    )


def encode_catalog(catalog: Catalog) -> bytes:
    """The canonical bytes of a catalog, as promotion writes them."""
    return _HEAD + b",".join(map(_encode_entry, catalog.entries)) + _TAIL


def _encode_entry(entry: Entry) -> bytes:
    if entry.paths is None and not entry.diffs:
        release, species, assembly = entry.id
        derived = f"release={release}/species={species}/assembly={assembly}/derived/"
        return (
            f'{{"dataset":{{"assembly":"{assembly}","release":"{release}","species":"{species}"}},'
            f'"manifest_path":"{derived}manifest.json","sqlite_path":"{derived}gene_summary.sqlite"}}'
        ).encode("ascii")
    return canonical(_members(entry))


def _members(entry: Entry) -> dict[str, object]:
    members: dict[str, object] = {
        "dataset": dataset_members(entry.id),
        "manifest_path": entry.manifest_path,
        "sqlite_path": entry.sqlite_path,
    }
    if entry.diffs:
        members["diff_artifacts"] = list(entry.diffs)
    return members


def catalog_sha256(catalog: Catalog) -> str:
    """The hash that `latest.alias.json` states: of the canonical bytes (contract 2.3)."""
    return sha256_hex(encode_catalog(catalog))


def struct_digest(catalog: Catalog) -> str:
    """The hash that `catalog.sha256` states, of the struct-order text (contract 2.2)."""
    digest = hashlib.sha256(b'{"model_version":"v1","datasets":[')
    remaining: Iterator[Entry] = iter(catalog.entries)
    separator = b""
    while chunk := list(islice(remaining, _CHUNK)):
        digest.update(separator + b",".join(struct_order(_members(entry)) for entry in chunk))
        separator = b","
    digest.update(b"]}")
    return digest.hexdigest()


def parse_catalog_digest(data: bytes, where: str = CATALOG_DIGEST) -> str:
    """The digest that a `catalog.sha256` file states: its first word, in lower case (contract 2.2).

    Raises:
        InvalidInput: E_CATALOG_DIGEST, the file does not begin with 64 hex digits.
    """
    words = data.decode("utf-8", "replace").split(maxsplit=1)
    word = words[0].lower() if words else ""
    if not re.fullmatch(r"[0-9a-f]{64}", word, re.ASCII):
        raise InvalidInput.of(
            "E_CATALOG_DIGEST", "the file does not begin with a sha256", path=where, got=word, fix="remove it"
        )
    return word
