"""What is said of a manifest, whatever its bytes are."""

from __future__ import annotations

import pytest

from reconciler.canonical import sha256_digest
from reconciler.contents import Content, Look
from reconciler.model import Address
from reconciler.stores.registry.describe import describe


def described(data: bytes, digest: str = "") -> Content:
    look = Look(Address("r", "manifest", digest or sha256_digest(data)), "", "m.json")
    ((_, content),) = describe([look], lambda _look: data)
    return content


@pytest.mark.parametrize(
    "data", [b"\xff", b"[" * 300, b'{"a": 1, "a": 2}', b"x" * 1_000_001, b"NaN", b"", b"9" * 40]
)
def test_bytes_that_are_no_document_have_their_size_alone(data: bytes) -> None:
    content = described(data)
    assert (content.facts, content.document) == ({"bytes": len(data)}, None)


@pytest.mark.parametrize("tables", ["[]", "null", '"x"', "7"])
def test_tables_that_are_none_are_not_counted(tables: str) -> None:
    data = f'{{"tables": {tables}}}'.encode()
    assert described(data).facts == {"bytes": len(data)}


def test_tables_without_columns_count_none() -> None:
    data = b'{"tables": {"a": {"schema": []}, "b": {"schema": {"arrow": {"fields": [1, 2]}}}, "c": 7}}'
    assert described(data).facts == {"tables": 3, "columns": 2, "bytes": len(data)}


def test_bytes_of_another_manifest_are_a_problem() -> None:
    content = described(b"{}", "sha256:" + "0" * 64)
    assert [problem.code for problem in content.problems] == ["E_MANIFEST_HASH"]
    assert content.facts == {}
