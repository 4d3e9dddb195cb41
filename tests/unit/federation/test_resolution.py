"""What a promotion and its source mean as records, and when they are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec.msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InvalidInput
from reconciler.model import NOTHING, Address, Origin, Place, Promotion, Shard
from reconciler.stores.atproto.dagcbor import Record, decode
from reconciler.stores.atproto.resolution import (
    PublishedSchema,
    Publisher,
    Resolution,
    Source,
    resolved,
    schema_meaning,
)
from reconciler.stores.atproto.sample_schema import schema_record

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
PLACE = Place("desired/promotions/d1.yaml", 6, 3)
NOBODY = Publisher(did=DID, schemas={})


def sample(kind: str = "int", version: str = "1.0.0", **more: object) -> Record:
    field = {"name": "label", "fieldType": {"$type": "local#primitive", "primitive": kind}, "optional": False}
    return schema_record(
        {"name": "Sample", "version": version, "fields": [field], **more}, where="sample.json"
    )


SCHEMA = sample()
SOURCE = Source(schema=SCHEMA, shards=(Shard("https://data.example.org/1.tar", "ab" * 32),))
PROMOTION = Promotion(store="public", name="d1", version="1.0.0", place=PLACE, origin=Origin(index="index"))


def records(found: Resolution) -> dict[str, Any]:
    """The records by kind; one of each is expected."""
    return {address.kind: of(found, address) for address in found.declarations}


def of(found: Resolution, address: Address) -> Any:  # noqa: ANN401 - a record
    source = found.declarations[address].source
    return None if source is None else decode(found.records[source.split(":")[1]])


def refused(promotion: Promotion, source: Source, publisher: Publisher = NOBODY) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        resolved([(promotion, source)], publisher)
    return [f"{one.code} {one.path}:{one.line}" for one in error.value.problems]


def published(record: Record, key: str = "3jzfcijpj2z2a") -> Publisher:
    one = PublishedSchema(key, "sha256:" + "cd" * 32, schema_meaning(record))
    return Publisher(did=DID, schemas={("Sample", "1.0.0"): (one,)})


def test_a_promotion_means_one_schema_one_entry_and_one_label() -> None:
    wish = replace(
        PROMOTION, description="Measurements", tags=("a", "b"), license="MIT", metadata={"split": "train"}
    )
    found = records(resolved([(wish, replace(SOURCE, provenance={"entryCid": "bafyrei"}))], NOBODY))

    data = found["entry"].pop("metadata")
    assert msgspec.msgpack.decode(data) == {"split": "train"}
    assert found == {
        "schema": SCHEMA,
        "entry": {
            "$type": "science.alt.dataset.entry",
            "name": "d1",
            "schemaRef": f"at://{DID}/science.alt.dataset.schema/ai4hmxzs4gkxb",
            "storage": {
                "$type": "science.alt.dataset.storageHttp",
                "shards": [
                    {
                        "url": "https://data.example.org/1.tar",
                        "checksum": {"algorithm": "sha256", "digest": "ab" * 32},
                    }
                ],
            },
            "description": "Measurements",
            "tags": ["a", "b"],
            "license": "MIT",
            "contentMetadata": {"source": {"entryCid": "bafyrei"}},
        },
        "label": {
            "$type": "science.alt.dataset.label",
            "name": "d1",
            "datasetUri": f"at://{DID}/science.alt.dataset.entry/axz32itgrohma",
            "version": "1.0.0",
            "description": "Measurements",
        },
    }


def test_what_a_document_says_is_laid_over_the_metadata_of_the_index() -> None:
    source = replace(SOURCE, metadata={"split": "test", "rows": 3, "checksums": {"/private/1.tar": "ab"}})
    found = records(resolved([(replace(PROMOTION, metadata={"split": "train"}), source)], NOBODY))
    assert msgspec.msgpack.decode(found["entry"]["metadata"]) == {"rows": 3, "split": "train"}


def test_versions_of_one_type_share_its_schema() -> None:
    found = resolved([(PROMOTION, SOURCE), (replace(PROMOTION, version="2.0.0"), SOURCE)], NOBODY)
    kinds = [address.kind for address in found.declarations]
    assert sorted(kinds) == ["entry", "entry", "label", "label", "schema"]


def test_a_schema_that_somebody_else_published_is_used_and_not_declared() -> None:
    found = resolved([(PROMOTION, SOURCE)], published(sample(description="Said otherwise.")))
    assert "schema" not in records(found)
    assert records(found)["entry"]["schemaRef"].endswith("/3jzfcijpj2z2a")


def test_of_several_equal_schemas_ours_comes_first_then_the_first_by_key() -> None:
    meaning = schema_meaning(SCHEMA)
    keys = ("2zzzzzzzzzzzz", "ai4hmxzs4gkxb", "3jzfcijpj2z2a")

    def used(*keys: str) -> str:
        several = tuple(PublishedSchema(key, "sha256:" + "cd" * 32, meaning) for key in keys)
        found = resolved([(PROMOTION, SOURCE)], Publisher(did=DID, schemas={("Sample", "1.0.0"): several}))
        return str(records(found)["entry"]["schemaRef"]).rpartition("/")[2]

    assert (used(*keys), used(keys[2], keys[0])) == ("ai4hmxzs4gkxb", "2zzzzzzzzzzzz")


def test_a_schema_of_ours_that_stands_is_wished_as_it_stands() -> None:
    publisher = published(sample(description="Said otherwise."), "ai4hmxzs4gkxb")
    found = resolved([(PROMOTION, SOURCE)], publisher)
    address = Address("public", "schema", "ai4hmxzs4gkxb")
    assert found.declarations[address].slots == {
        "content": "sha256:" + "cd" * 32,
        "name": "Sample",
        "version": "1.0.0",
    }


def test_the_same_type_and_version_with_other_content_is_refused() -> None:
    assert refused(PROMOTION, SOURCE, published(sample("str"))) == [
        "E_SCHEMA_CONFLICT desired/promotions/d1.yaml:6"
    ]


def test_two_promotions_that_disagree_on_a_schema_are_refused_with_both_places() -> None:
    other = replace(PROMOTION, name="d2", place=Place("desired/promotions/d2.yaml", 9, 3))
    with pytest.raises(InvalidInput) as error:
        resolved([(PROMOTION, SOURCE), (other, replace(SOURCE, schema=sample("str")))], NOBODY)
    problem = error.value.problems[0]
    assert (problem.code, problem.path, problem.line) == (
        "E_SCHEMA_CONFLICT",
        "desired/promotions/d2.yaml",
        9,
    )
    assert "desired/promotions/d1.yaml:6" in problem.message


def test_a_withdrawn_version_wishes_that_label_and_entry_are_gone_and_keeps_the_schema() -> None:
    gone = replace(PROMOTION, origin=None, reason="wrong data")
    found = resolved([(gone, None)], NOBODY)
    assert {str(address): (one.slots, one.reason) for address, one in found.declarations.items()} == {
        "public/entry/axz32itgrohma": (NOTHING, "wrong data"),
        "public/label/axz32itgroh27": (NOTHING, "wrong data"),
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "n" * 201}, ["E_RECORD_LIMIT", "E_RECORD_LIMIT"]),
        ({"metadata": {"a": 1.5}}, ["E_RECORD_TYPE"]),
        ({"metadata": {"a": 2**53}}, ["E_RECORD_LIMIT"]),
        ({"metadata": {"a": "x" * 100_000}}, ["E_RECORD_LIMIT"]),
        ({"tags": ("t",) * 31}, ["E_RECORD_LIMIT"]),
        ({"license": "l" * 201}, ["E_RECORD_LIMIT"]),
        ({"description": "d" * 5001}, ["E_RECORD_LIMIT", "E_RECORD_LIMIT"]),
        ({"version": "v" * 51}, ["E_RECORD_LIMIT"]),
    ],
)
def test_what_the_lexicon_refuses_is_refused_at_the_promotions_place(
    change: Mapping[str, Any], expected: list[str]
) -> None:
    found = refused(replace(PROMOTION, **change), SOURCE)
    assert found == [f"{code} desired/promotions/d1.yaml:6" for code in expected]


def test_a_record_that_no_request_can_carry_is_refused() -> None:
    shards = tuple(Shard(f"https://data.example.org/{'x' * 80}/{n}.tar", "ab" * 32) for n in range(5000))
    assert refused(PROMOTION, replace(SOURCE, shards=shards)) == [
        "E_RECORD_LIMIT desired/promotions/d1.yaml:6"
    ]


def test_a_source_without_data_is_refused() -> None:
    assert refused(PROMOTION, replace(SOURCE, shards=())) == ["E_DATA_URLS desired/promotions/d1.yaml:6"]


def test_problems_of_every_promotion_are_reported_together() -> None:
    wishes = [(replace(PROMOTION, name=f"d{n}", license="l" * 201), SOURCE) for n in range(3)]
    with pytest.raises(InvalidInput) as error:
        resolved(wishes, NOBODY)
    assert [one.code for one in error.value.problems] == ["E_RECORD_LIMIT"] * 3


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/@"), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["1.0.0", "2.0.0"])), unique=True, max_size=5),
    st.dictionaries(NAMES, NAMES, max_size=4),
)
def test_resolving_again_what_was_published_wishes_the_same(
    versions: list[tuple[str, str]], metadata: dict[str, str]
) -> None:
    wishes = [
        (replace(PROMOTION, name=name, version=version, metadata=metadata), SOURCE)
        for name, version in versions
    ]
    first = resolved(wishes, NOBODY)
    schemas = {
        ("Sample", "1.0.0"): tuple(
            PublishedSchema(address.key, str(wish.slots["content"]), schema_meaning(of(first, address)))
            for address, wish in first.declarations.items()
            if address.kind == "schema"
        )
    }
    again = resolved(wishes, Publisher(did=DID, schemas=schemas if wishes else {}))
    assert {address: wish.slots for address, wish in again.declarations.items()} == {
        address: wish.slots for address, wish in first.declarations.items()
    }
