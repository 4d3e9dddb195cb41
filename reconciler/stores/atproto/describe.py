"""What is inside of a record, for people: a few facts, and the members that an edit changes.

A record is shown as its lexicon has it, without its type and time, and with the metadata of an entry read as
the map that readers get. Decides nothing, and reads nothing: the caller gives the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from reconciler.contents import Content, Look
from reconciler.errors import InvalidInput, Problem
from reconciler.model import public_location
from reconciler.stores.atproto.dagcbor import Data, Link, Malformed, Record, decode, to_json
from reconciler.stores.atproto.keys import ENTRY, SCHEMA, source_parts
from reconciler.stores.atproto.lexicon import STORAGE_BLOBS
from reconciler.stores.atproto.metadata import decoded_metadata, metadata_problems
from reconciler.stores.atproto.published import shards_of
from reconciler.stores.atproto.repository import CREATED, Key, Reading

_HIDDEN: Final = frozenset({"$type", CREATED})
_STORAGE: Final = "science.alt.dataset."


def described(
    looks: Sequence[Look], reading: Callable[[], Reading], records: Mapping[str, bytes]
) -> Iterator[tuple[Look, Content]]:
    """One content for each look.

    Args:
        looks: what is asked for.
        reading: gives what stands in the account.
        records: what would be written, by CID.
    """
    for look in looks:
        record = _wished(look.source, records) if look.source else _standing(look, reading())
        if record is None:
            yield look, Content(address=look.address, facts={}, problems=(_missing(look),))
        else:
            facts = dict(_facts(look.address.kind, record))
            yield look, Content(address=look.address, facts=facts, document=_document(record))


def _wished(source: str, records: Mapping[str, bytes]) -> Record | None:
    parts = source_parts(source)
    try:
        found = decode(records[parts[0]]) if parts is not None and parts[0] in records else None
    except Malformed:
        return None
    return found if isinstance(found, dict) else None


def _standing(look: Look, reading: Reading) -> Record | None:
    stored = reading.records.get(Key(look.address.kind, look.address.key))
    same = stored is not None and not stored.problems and stored.slots.get("content") == look.digest
    return stored.record if stored is not None and same else None


def _facts(kind: str, record: Record) -> Iterator[tuple[str, int | str]]:
    for name in ("name", "version", "license"):
        value = record.get(name)
        if isinstance(value, str) and value:
            yield name, value
    if kind == ENTRY:
        storage, size = record.get("storage"), record.get("size")
        if isinstance(storage, dict):
            yield "storage", str(storage.get("$type")).removeprefix(_STORAGE)
            shards = shards_of(record, "", "")
            yield "shards", len(shards)
            if shards and storage.get("$type") != STORAGE_BLOBS:  # a blob has no address of its own
                yield "first", public_location(shards[0].url)
                if len(shards) > 1:
                    yield "last", public_location(shards[-1].url)
        total = size.get("bytes") if isinstance(size, dict) else None
        if isinstance(total, int):
            yield "bytes", total
    body = record.get("schema")
    fields = body.get("properties") if kind == SCHEMA and isinstance(body, dict) else None
    if isinstance(fields, dict):
        yield "fields", len(fields)


def _document(record: Record) -> object:
    shown: dict[str, object] = {name: _plain(value) for name, value in record.items() if name not in _HIDDEN}
    metadata = record.get("metadata")
    if isinstance(metadata, bytes):
        shown["metadata"] = _readable(metadata)
    return shown


def _readable(metadata: bytes) -> object:
    """The map that readers get; one that no record of ours could hold is not compared."""
    try:
        found = decoded_metadata(metadata, where="")
    except InvalidInput:
        return "not readable"
    return "not comparable" if metadata_problems(found, where="") else found


def _plain(value: Data) -> object:
    """The value as JSON; bytes and links as texts."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(to_json(value)) if isinstance(value, bytes | Link) else value


def _missing(look: Look) -> Problem:
    return Problem(
        code="E_SOURCE_MISSING",
        message="the record is not at hand",
        path=str(look.address),
        fix="plan again where the account can be read",
    )
