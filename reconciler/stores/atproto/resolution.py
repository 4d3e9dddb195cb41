"""From a promotion and what its source says to the three records it means, and to declarations of them.

Decides what is published: the schema (once for each name and version; one that the account already has is
used, whoever published it), the entry (name, storage, metadata) and the label that carries the dataset's own
version. Every record is held against its lexicon here, before anything is planned, and every problem of
every promotion is reported together. Nothing is read and nothing is written: sources were read before, and
records travel by their CID until the store commits them.

A withdrawn version is the wish that its label and its entry do not exist. Of its schema nothing is wished:
one of ours goes with the last entry that uses it, by the store's shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from reconciler.errors import InvalidInput, Problem
from reconciler.model import NOTHING, Address, Declaration, Place, Promotion, Shard, Terms
from reconciler.stores.atproto.dagcbor import Data, Record, encode
from reconciler.stores.atproto.keys import (
    COLLECTIONS,
    ENTRY,
    LABEL,
    SCHEMA,
    content_digest,
    record_key,
    record_source,
    record_uri,
)
from reconciler.stores.atproto.lexicon import problems_of
from reconciler.stores.atproto.metadata import CHECKSUMS, encoded_metadata, metadata_problems
from reconciler.stores.atproto.shards import storage_of

_ANY_TIME: Final = "2000-01-01T00:00:00Z"
"""Stands for `createdAt` while a record is checked; the store adds the real one."""

RECORD_LIMIT: Final = 900_000
"""The most bytes of a record: a request of 1,000,000 bytes carries it as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was read of where a promotion comes from.

    Attributes:
        schema: the record of the schema, without its time.
        shards: the data, one by one, at the addresses that readers will use.
        storage: the storage, where it is not just those addresses (blobs).
        metadata: what the index holds beside the data.
        provenance: what pins the source, kept in the record.
        size: how many bytes the shards have in all; 0 if not known.
    """

    schema: Record
    shards: tuple[Shard, ...]
    storage: Record | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    size: int = 0


class PublishedSchema(NamedTuple):
    """A schema record that the account has: its key, the digest of what it says, and that of its meaning."""

    key: str
    content: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """What resolution must know of the account: its DID, and the schemas it has by name and version."""

    did: str
    schemas: Mapping[tuple[str, str], tuple[PublishedSchema, ...]]


def schema_meaning(record: Mapping[str, Data]) -> str:
    """The digest of what decides whether two schemas are the same: the types, not their description."""
    body = record.get("schema")
    shape = dict(body) if isinstance(body, dict) else {}
    required = shape.get("required")
    if isinstance(required, list):
        shape["required"] = sorted(required, key=str)
    return content_digest(encode({"schemaType": record.get("schemaType"), "schema": shape}))


class _Seen(NamedTuple):
    """A schema that was looked at: kept, so that its identity stays its own."""

    record: Record
    problems: tuple[Problem, ...]
    meaning: str


@dataclass(slots=True)
class Resolution:
    """Declarations by address, the bytes of their records by CID, the terms of entries, and what is wrong.

    A schema of somebody else that is used is not declared: it is not ours.
    """

    declarations: dict[Address, Declaration] = field(default_factory=dict)
    records: dict[str, bytes] = field(default_factory=dict)
    terms: dict[Address, Terms] = field(default_factory=dict)
    seen: dict[int, _Seen] = field(default_factory=dict)
    meanings: dict[tuple[str, str], tuple[str, Promotion]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def resolved(promotions: Iterable[tuple[Promotion, Source | None]], publisher: Publisher) -> Resolution:
    """What some promotions to one account declare.

    Args:
        promotions: each with its source; None for a version that is withdrawn.
        publisher: the account that they go to.

    Raises:
        InvalidInput: everything that is wrong: E_RECORD_TYPE, E_RECORD_LIMIT, E_RECORD_FIELD,
            E_RECORD_FORMAT, E_SCHEMA_CONFLICT, E_DATA_URLS, E_URL_MIXED.
    """
    found = Resolution()
    for promotion, source in promotions:
        if source is None:
            _withdraw(promotion, found)
            continue
        try:
            _promote(promotion, source, publisher, found)
        except InvalidInput as error:
            found.problems += placed(error.problems, promotion.place)
    if found.problems:
        raise InvalidInput(found.problems)
    return found


def placed(problems: Iterable[Problem], place: Place) -> Iterator[Problem]:
    """Problems at the place of the promotion, unless they have one of their own."""
    for problem in problems:
        if problem.path:
            yield problem
        else:
            yield replace(problem, path=place.path, line=place.line, column=place.column)


def _withdraw(promotion: Promotion, found: Resolution) -> None:
    for kind in (ENTRY, LABEL):
        address = _address(promotion, kind)
        found.declarations[address] = Declaration(address, NOTHING, promotion.place, reason=promotion.reason)


def _address(promotion: Promotion, kind: str) -> Address:
    key = record_key(COLLECTIONS[kind], promotion.name, promotion.version)
    return Address(promotion.store, kind, key)


def _promote(promotion: Promotion, source: Source, publisher: Publisher, found: Resolution) -> None:
    schema = _schema(promotion, source.schema, publisher, found)
    if schema is None:
        return
    entry, label = _address(promotion, ENTRY), _address(promotion, LABEL)
    members = frozenset((*source.metadata, *promotion.metadata))
    found.terms[entry] = Terms(license=promotion.license, metadata=members)
    content = entry_content(promotion, source, record_uri(publisher.did, SCHEMA, schema))
    said = label_content(promotion, record_uri(publisher.did, ENTRY, entry.key))
    problems = [*_refused(content), *_refused(said)]
    if problems:
        found.problems += placed(problems, promotion.place)
        return  # what is wrong is never encoded
    data = encode(content)
    if len(data) > RECORD_LIMIT:
        found.problems += placed((_too_large(promotion.name, len(data)),), promotion.place)
        return
    _declare(found, entry, data, promotion, {"name": promotion.name, "schema": schema})
    slots = {"name": promotion.name, "version": promotion.version, "entry": entry.key}
    _declare(found, label, encode(said), promotion, slots)


def _schema(promotion: Promotion, record: Record, publisher: Publisher, found: Resolution) -> str | None:
    """The key of the schema's record, declared; None and a problem where it cannot be published."""
    seen = found.seen.get(id(record))
    if seen is None:
        seen = _Seen(record, _refused(record), "")
        if not seen.problems:
            seen = seen._replace(meaning=schema_meaning(record))
        found.seen[id(record)] = seen
    if seen.problems:
        found.problems += placed(seen.problems, promotion.place)
        return None
    name, version = str(record["name"]), str(record["version"])
    own = record_key(COLLECTIONS[SCHEMA], name, version)
    known = publisher.schemas.get((name, version), ())
    ordered = sorted(known, key=lambda one: (one.key != own, one.key))
    same = next((one for one in ordered if one.meaning == seen.meaning), None)
    first = found.meanings.setdefault((name, version), (seen.meaning, promotion))
    if (known and same is None) or first[0] != seen.meaning:
        where = "the account" if known else str(first[1].place)
        found.problems.append(_conflict(promotion, f"{name}@{version}", where))
        return None
    address = Address(promotion.store, SCHEMA, own)
    names = {"name": name, "version": version}
    if address in found.declarations or (same is not None and same.key != own):
        return own if same is None else same.key
    if same is None:
        _declare(found, address, encode(record), promotion, names)
    else:
        slots = {"content": same.content, **names}
        found.declarations[address] = Declaration(address, slots, promotion.place)
    return own


def _conflict(promotion: Promotion, schema: str, where: str) -> Problem:
    return Problem(
        code="E_SCHEMA_CONFLICT",
        message=f"a schema of this name and version with other content is published already, by {where}",
        path=promotion.place.path,
        line=promotion.place.line,
        column=promotion.place.column,
        got=schema,
        fix="give the changed schema a new version",
    )


def _declare(
    found: Resolution, address: Address, content: bytes, promotion: Promotion, names: Mapping[str, str]
) -> None:
    source = record_source(content)
    found.records[source.split(":")[1]] = content
    slots = {"content": content_digest(content), **names}
    found.declarations[address] = Declaration(address, slots, promotion.place, source)


def _refused(record: Record) -> tuple[Problem, ...]:
    return problems_of({**record, "createdAt": _ANY_TIME}, where="")


def _too_large(name: str, size: int) -> Problem:
    message = f"the record has {size} bytes, and at most {RECORD_LIMIT} are allowed"
    return Problem(code="E_RECORD_LIMIT", message=message, got=name, fix="use fewer and larger shards")


def entry_content(promotion: Promotion, source: Source, schema_uri: str) -> Record:
    """The record of an entry, without its time.

    Raises:
        InvalidInput: E_DATA_URLS, E_URL_MIXED, or the metadata's problems.
    """
    record: Record = {
        "$type": COLLECTIONS[ENTRY],
        "name": promotion.name,
        "schemaRef": schema_uri,
        "storage": source.storage or storage_of(source.shards, where=""),
    }
    if promotion.description:
        record["description"] = promotion.description
    metadata = {key: value for key, value in source.metadata.items() if key != CHECKSUMS}
    metadata |= promotion.metadata
    problems = metadata_problems(metadata, where="")
    if problems:
        raise InvalidInput(problems)
    if metadata:
        record["metadata"] = encoded_metadata(metadata)
    if promotion.tags:
        record["tags"] = list[Data](promotion.tags)
    if promotion.license:
        record["license"] = promotion.license
    if source.size:
        record["size"] = {"bytes": source.size, "shards": len(source.shards)}
    if source.provenance:
        record["contentMetadata"] = {"source": dict[str, Data](source.provenance)}
    return record


def label_content(promotion: Promotion, entry_uri: str) -> Record:
    """The record of a label, without its time."""
    record: Record = {
        "$type": COLLECTIONS[LABEL],
        "name": promotion.name,
        "datasetUri": entry_uri,
        "version": promotion.version,
    }
    if promotion.description:
        record["description"] = promotion.description
    return record
