"""Sample schemas: from the form of a local index, or of a file beside a document, to the record of a schema.

A local schema lists fields with types (`local#primitive`, `local#ndarray`, …); the record of the network is a
JSON Schema (draft 07) in an envelope (contract A2). Both are accepted as input; the result is what atdata's
own client publishes for the same schema, so that a schema that it published before is found and reused.
Two things are better than there: a list of arrays stays a list, and a field type that is not known is
refused instead of guessed.

A record here has no `createdAt`: the store adds the time. Only shape and names are decided here; lengths
are for the lexicon.

    >>> schema_record({"name": "A", "version": "1.0.0", "fields": []}, where="a.json")["schemaType"]
    'jsonSchema'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from reconciler.errors import InvalidInput
from reconciler.stores.atproto.dagcbor import Data, Record
from reconciler.stores.atproto.keys import COLLECTIONS, SCHEMA

FORMAT: Final = f"{COLLECTIONS[SCHEMA]}#jsonSchemaFormat"
DRAFT: Final = "http://json-schema.org/draft-07/schema#"
RECORD_VERSION: Final = 1
"""`atdataSchemaVersion`: the form of the record, not of the schema in it; absent means the same."""

_ARRAY: Final = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
_ARRAY_VERSIONS: Final[Mapping[str, str]] = {"ndarrayBytes": "1.0.0"}
_BYTES: Final[Mapping[str, str]] = {"type": "string", "format": "byte", "contentEncoding": "base64"}
_PRIMITIVES: Final[Mapping[str, Mapping[str, str]]] = {
    "bool": {"type": "boolean"},
    "bytes": _BYTES,
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "str": {"type": "string"},
}
_LOCAL: Final = "local#"
_AS_ARRAY: Final = frozenset({"ndarray", "structured"})
_AS_BYTES: Final = frozenset({"sparse", "arrow_tensor", "safetensors", "dataframe"})
_DEPTH: Final = 16
_LOCAL_MEMBERS: Final = frozenset({"name", "version", "fields"})


def schema_record(document: Mapping[str, Any], *, where: str) -> Record:
    """The record, without its time, of a schema in either form.

    Args:
        document: a local schema, or a record of the network, as JSON.
        where: the file or entry that errors name.

    Raises:
        InvalidInput: E_SCHEMA_FORM, it is neither; E_SCHEMA_TYPE, a field's type has no form in a record;
            E_SCHEMA_VERSION, the record is of a later version than is known here.
    """
    if document.get("schemaType") is not None or document.get("$type") == COLLECTIONS[SCHEMA]:
        return _from_network(document, where)
    if not document.keys() >= _LOCAL_MEMBERS or not isinstance(document["fields"], list):
        _refuse_form("a schema has name, version and fields, or is a record of the network", where)
    return _from_local(document, where)


def fragile_fields(record: Record) -> tuple[str, ...]:
    """The optional fields that stand before a required one as a server gives the fields back.

    A server orders fields by length and bytes; atdata's client cannot build the type of such a schema.
    """
    body = record["schema"]
    if not isinstance(body, dict):
        return ()
    properties, required = body.get("properties"), body.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return ()
    ordered = sorted(properties, key=lambda name: (len(name.encode()), name.encode()))
    last = max((at for at, name in enumerate(ordered) if name in required), default=-1)
    return tuple(name for name in ordered[: max(last, 0)] if name not in required)


def _refuse_form(message: str, where: str, got: str | None = None) -> NoReturn:
    raise InvalidInput.of(
        "E_SCHEMA_FORM",
        message,
        path=where,
        got=got,
        fix="export the schema from the index, or copy the record that the account has",
    )


def _from_network(document: Mapping[str, Any], where: str) -> Record:
    version = document.get("atdataSchemaVersion", RECORD_VERSION)
    if version != RECORD_VERSION:
        raise InvalidInput.of(
            "E_SCHEMA_VERSION",
            f"the schema record is of version {RECORD_VERSION} here",
            path=where,
            got=str(version),
            fix="write the schema in that version",
        )
    body = document.get("schema")
    if document.get("schemaType") != "jsonSchema" or not isinstance(body, dict):
        _refuse_form("a schema record holds a JSON Schema", where, str(document.get("schemaType")))
    record: Record = {key: value for key, value in document.items() if key not in {"createdAt", "$ref"}}
    record["$type"] = COLLECTIONS[SCHEMA]
    record["atdataSchemaVersion"] = RECORD_VERSION
    record["schema"] = {"$type": FORMAT, **body}
    return record


def _from_local(document: Mapping[str, Any], where: str) -> Record:
    properties: Record = {}
    required: list[Data] = []
    for field in document["fields"]:
        if not isinstance(field, dict) or not isinstance(field.get("name"), str) or not field["name"]:
            _refuse_form("every field of a schema has a name", where)
        name = field["name"]
        if name in properties:
            _refuse_form("a field stands twice in the schema", where, name)
        properties[name] = _property(field.get("fieldType"), f"{where}: field {name}", _DEPTH)
        if not field.get("optional", False):
            required.append(name)
    body: Record = {"$type": FORMAT, "$schema": DRAFT, "type": "object", "properties": properties}
    if required:
        body["required"] = required
    if any(_holds_array(value) for value in properties.values()):
        body["arrayFormatVersions"] = dict(_ARRAY_VERSIONS)
    record: Record = {
        "$type": COLLECTIONS[SCHEMA],
        "name": document["name"],
        "version": document["version"],
        "schemaType": "jsonSchema",
        "schema": body,
        "atdataSchemaVersion": RECORD_VERSION,
    }
    if document.get("description"):
        record["description"] = document["description"]
    return record


def _property(written: object, where: str, depth: int) -> Data:
    """The JSON Schema of one field type."""
    kind = str(written.get("$type", "")).removeprefix(_LOCAL) if isinstance(written, dict) else ""
    if isinstance(written, dict) and depth:
        if kind == "primitive" and written.get("primitive") in _PRIMITIVES:
            return dict(_PRIMITIVES[written["primitive"]])
        if kind in _AS_ARRAY:
            return {"$ref": _ARRAY}
        if kind in _AS_BYTES:
            return dict(_BYTES)
        if kind == "array" and "items" in written:
            return {"type": "array", "items": _property(written["items"], where, depth - 1)}
    got = written.get("primitive", kind) if isinstance(written, dict) else str(written)
    raise InvalidInput.of(
        "E_SCHEMA_TYPE",
        "the type of a field has no form in a schema record",
        path=where,
        got=str(got),
        fix="one of str, int, float, bool, bytes, an array, or a list of these",
    )


def _holds_array(value: Data) -> bool:
    if not isinstance(value, dict):
        return False
    return value.get("$ref") == _ARRAY or _holds_array(value.get("items"))
