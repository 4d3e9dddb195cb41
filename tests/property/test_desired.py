from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema_rs import validator_for

from reconciler.desired.schema import API_VERSION, KINDS, checked_kind, schema
from reconciler.desired.yaml_guard import parse
from reconciler.errors import InvalidInput
from reconciler.model import DatasetId, dataset_id_problem

DIGEST = "sha256:" + "0f" * 32

WORDS = [
    "",
    "none",
    "default",
    "true",
    "false",
    "serving",
    "file:var/x",
    "110/homo_sapiens/GRCh38",
    "110/homo_sapiens/GRCh38\n",
    "١١٠/a/b",
    "homo_sapiens/GRCh38",
    DIGEST,
    DIGEST + "\n",
    DIGEST.upper(),
    "Catalog",
    "reason",
    "Serving",
    "prod",
    "a b",
]
NAMES = [
    "apiVersion",
    "kind",
    "store",
    "stores",
    "datasets",
    "latest",
    "removed",
    "meta",
    "id",
    "manifest",
    "source",
    "diffs",
    "reason",
    "owner",
    "ticket",
    "root",
    "create",
    "env",
    "environment",
    "promotesFrom",
    "authoritative",
    "document",
    "was",
    "default",
    "homo_sapiens/GRCh38",
    "serving",
    "extra",
]

texts = st.sampled_from(WORDS) | st.text(max_size=8)
values = st.recursive(
    texts | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | texts, inner, max_size=4)
    ),
    max_leaves=12,
)
ids = st.from_regex(r"[0-9]{1,3}/[a-z]{1,5}/[A-Za-z0-9]{1,5}", fullmatch=True)
entries = st.fixed_dictionaries(
    {"id": ids | texts, "manifest": st.just(DIGEST) | texts}, optional={"source": texts}
)
documents = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("Catalog"), "store": st.just("serving") | texts},
        optional={
            "datasets": st.lists(entries | values, max_size=3),
            "latest": ids | values,
            "removed": st.lists(st.fixed_dictionaries({"id": ids, "reason": texts}), max_size=2),
            "meta": values,
        },
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("Stores"),
            "stores": st.dictionaries(
                st.just("serving") | texts,
                st.fixed_dictionaries(
                    {"kind": st.just("serving") | texts, "root": texts | values},
                    optional={"create": texts, "promotesFrom": texts, "environment": texts},
                )
                | values,
                max_size=2,
            ),
        },
        optional={"meta": values},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("Removed"), "store": texts, "document": texts, "was": texts, "reason": texts},
        optional={"datasets": st.lists(ids | texts, max_size=2), "latest": texts},
    ),
).map(lambda fields: {"apiVersion": API_VERSION, **fields})


def python_accepts(kind: str, document: dict[str, Any]) -> bool:
    """The slower library's verdict; its patterns may end before a final newline."""
    return Draft202012Validator(schema(kind)).is_valid(document)


def holds_newline(value: object) -> bool:
    if isinstance(value, str):
        return "\n" in value
    if isinstance(value, dict):
        return any(map(holds_newline, value)) or any(map(holds_newline, value.values()))
    return isinstance(value, list) and any(map(holds_newline, value))


@settings(max_examples=400, deadline=None)
@given(documents)
def test_the_gate_and_the_explaining_library_agree(document: dict[str, Any]) -> None:
    accepted = validator_for(schema(document["kind"])).is_valid(document)

    assert accepted == python_accepts(document["kind"], document) or holds_newline(document)
    assert not accepted or python_accepts(document["kind"], document)


@settings(max_examples=300, deadline=None)
@given(documents)
def test_whatever_the_gate_refuses_is_explained_at_a_place_and_by_a_code(document: dict[str, Any]) -> None:
    data = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    try:
        parsed = parse(data, "x.yaml")
    except InvalidInput:
        return  # refused before any schema: another test's matter
    accepted = validator_for(schema(document["kind"])).is_valid(parsed.root)
    try:
        assert checked_kind(parsed) == document["kind"]
        assert accepted
    except InvalidInput as error:
        assert not accepted
        for problem in error.problems:
            assert problem.code.startswith("E_")
            assert problem.code != "E_SCHEMA"
            assert (problem.path, problem.line > 0, problem.column > 0) == ("x.yaml", True, True)


plain = st.text(
    st.characters(codec="utf-8", categories=["L", "M", "N", "P", "S", "Zs"]), min_size=1, max_size=60
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(plain, max_size=6), st.dictionaries(st.text("abcdef", min_size=1, max_size=5), plain, max_size=5)
)
def test_every_quoted_scalar_is_its_source_text(items: list[str], fields: dict[str, str]) -> None:
    document = {"items": items, "fields": fields}
    data = json.dumps(document, ensure_ascii=False).encode()

    assert parse(data, "x.yaml").root == document


@settings(max_examples=400, deadline=None)
@given(
    st.from_regex(r"[A-Za-z0-9+._/-]([A-Za-z0-9+._/:-]*[A-Za-z0-9+._/-])?", fullmatch=True).filter(
        lambda text: (
            text not in {"null", "Null", "NULL", "-", "---", "..."} and not text.startswith(("--- ", "... "))
        )
    )
)
def test_every_plain_scalar_is_its_source_text(text: str) -> None:
    assert parse(f"a: {text}\nb: [x, {text}]\n".encode(), "x.yaml").root == {"a": text, "b": ["x", text]}


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | st.text("{}[]:,-?&*!|>'\"%@#\n ab~<", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(data: bytes) -> None:
    paths: list[str] = []
    try:
        assert isinstance(parse(data, "x.yaml").root, dict)
    except InvalidInput as error:
        paths = [problem.path for problem in error.problems]

    assert paths in ([], ["x.yaml"])


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40) | ids | st.sampled_from(WORDS))
def test_the_schema_never_refuses_an_id_that_the_grammar_accepts(text: str) -> None:
    if dataset_id_problem(text) is None:
        document = {"apiVersion": API_VERSION, "kind": "Catalog", "store": "s", "latest": text}
        assert validator_for(schema("Catalog")).is_valid(document)
        assert str(DatasetId.parse(text)) == text


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_schema_is_itself_valid_and_uses_no_class_that_unicode_widens(kind: str) -> None:
    Draft202012Validator.check_schema(schema(kind))
    text = json.dumps(schema(kind))

    assert "\\d" not in text
    assert "\\w" not in text
    assert "\\s" not in text
