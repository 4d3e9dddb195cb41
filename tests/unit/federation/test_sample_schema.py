"""A local schema becomes the record that atdata's own client publishes for it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.errors import InvalidInput
from reconciler.stores.atproto.sample_schema import fragile_fields, schema_record

NDARRAY = {"$ref": "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"}
BYTES = {"type": "string", "format": "byte", "contentEncoding": "base64"}


def field(name: str, kind: dict[str, Any], *, optional: bool = False) -> dict[str, Any]:
    return {"name": name, "fieldType": kind, "optional": optional}


def primitive(name: str) -> dict[str, Any]:
    return {"$type": "local#primitive", "primitive": name}


def local(*fields: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"name": "Sample", "version": "1.0.0", "fields": list(fields), **more}


LOCAL = local(
    field("image", {"$type": "local#ndarray", "dtype": "float32", "shape": [2, 3]}),
    field("label", primitive("int")),
    field("name", primitive("str")),
    field("score", primitive("float")),
    field("ok", primitive("bool")),
    field("raw", primitive("bytes")),
    field("tags", {"$type": "local#array", "items": primitive("str")}),
    field("extra", primitive("str"), optional=True),
    description="One sample.",
    createdAt="2026-11-21T01:12:05.664701+00:00",
    **{"$ref": "atdata://local/schema/Sample@1.0.0"},
)
# Observed from atdata 0.7.0b1, publishing the schema above when it promotes an entry.
NETWORK: dict[str, Any] = {
    "$type": "science.alt.dataset.schema",
    "name": "Sample",
    "version": "1.0.0",
    "schemaType": "jsonSchema",
    "schema": {
        "$type": "science.alt.dataset.schema#jsonSchemaFormat",
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "image": NDARRAY,
            "label": {"type": "integer"},
            "name": {"type": "string"},
            "score": {"type": "number"},
            "ok": {"type": "boolean"},
            "raw": BYTES,
            "tags": {"type": "array", "items": {"type": "string"}},
            "extra": {"type": "string"},
        },
        "required": ["image", "label", "name", "score", "ok", "raw", "tags"],
        "arrayFormatVersions": {"ndarrayBytes": "1.0.0"},
    },
    "atdataSchemaVersion": 1,
    "description": "One sample.",
}


def test_a_local_schema_becomes_the_record_that_the_reference_publishes() -> None:
    assert schema_record(LOCAL, where="x") == NETWORK


def test_a_record_of_the_network_is_taken_as_it_is_without_its_time() -> None:
    written = {**NETWORK, "createdAt": "2026-11-21T01:12:05.664701+00:00"}
    assert schema_record(written, where="x") == NETWORK


def test_a_record_without_its_version_means_version_one() -> None:
    written = {key: value for key, value in NETWORK.items() if key != "atdataSchemaVersion"}
    assert schema_record(written, where="x") == NETWORK


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"$type": "local#sparse"}, BYTES),
        ({"$type": "local#structured"}, NDARRAY),
        ({"$type": "local#arrow_tensor"}, BYTES),
        ({"$type": "local#safetensors"}, BYTES),
        ({"$type": "local#dataframe"}, BYTES),
        (
            {"$type": "local#array", "items": {"$type": "local#array", "items": primitive("int")}},
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        ),
        (
            {"$type": "local#array", "items": {"$type": "local#ndarray"}},
            {"type": "array", "items": NDARRAY},
        ),
    ],
)
def test_every_field_type_has_its_form(kind: dict[str, Any], expected: dict[str, Any]) -> None:
    record = schema_record(local(field("f", kind)), where="x")
    assert record["schema"]["properties"] == {"f": expected}  # type: ignore[index,call-overload]


def test_only_schemas_with_arrays_name_the_versions_of_array_formats() -> None:
    plain = schema_record(local(field("f", primitive("int"))), where="x")["schema"]
    nested = schema_record(
        local(field("f", {"$type": "local#array", "items": {"$type": "local#ndarray"}})), where="x"
    )["schema"]
    assert isinstance(plain, dict)
    assert isinstance(nested, dict)
    assert ("arrayFormatVersions" in plain, nested["arrayFormatVersions"]) == (
        False,
        {"ndarrayBytes": "1.0.0"},
    )


def test_a_schema_without_required_fields_has_no_list_of_them() -> None:
    record = schema_record(local(field("f", primitive("int"), optional=True)), where="x")
    assert "required" not in record["schema"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (local(field("f", primitive("complex"))), "E_SCHEMA_TYPE"),
        (local(field("f", {"$type": "local#ref", "ref": "x"})), "E_SCHEMA_TYPE"),
        (local(field("f", {"$type": "local#array"})), "E_SCHEMA_TYPE"),
        (local({"name": "f"}), "E_SCHEMA_TYPE"),
        (local(field("f", primitive("int")), field("f", primitive("int"))), "E_SCHEMA_FORM"),
        (local({"fieldType": primitive("int")}), "E_SCHEMA_FORM"),
        ({"name": "Sample"}, "E_SCHEMA_FORM"),
        ({"fields": 1, "name": "a", "version": "1.0.0"}, "E_SCHEMA_FORM"),
        ({**NETWORK, "atdataSchemaVersion": 2}, "E_SCHEMA_VERSION"),
        ({**NETWORK, "schemaType": "avro"}, "E_SCHEMA_FORM"),
    ],
)
def test_what_has_no_form_in_a_record_is_refused(document: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schema_record(document, where="desired/sample.json")
    assert (refused.value.code, refused.value.problems[0].path.partition(":")[0]) == (
        code,
        "desired/sample.json",
    )


def test_optional_fields_that_the_reference_cannot_order_are_named() -> None:
    fields = (field("a", primitive("int"), optional=True), field("bb", primitive("int")))
    assert fragile_fields(schema_record(local(*fields), where="x")) == ("a",)
    assert fragile_fields(schema_record(LOCAL, where="x")) == ("extra",)
    fine = (
        field("aa", primitive("int")),
        field("b", primitive("int")),
        field("ccc", primitive("int"), optional=True),
    )
    assert fragile_fields(schema_record(local(*fine), where="x")) == ()
