"""Records are held against the lexicons before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import Problem
from reconciler.stores.atproto.dagcbor import Link, cid_bytes
from reconciler.stores.atproto.lexicon import Definition, problems_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "atproto-lexicons"
URI = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.schema/3jzfcijpj2z2a"
TIME = "2026-01-02T03:04:05.678Z"
HTTP: dict[str, Any] = {
    "$type": "science.alt.dataset.storageHttp",
    "shards": [{"url": "https://x.example/1.tar", "checksum": {"algorithm": "none", "digest": ""}}],
}


def entry(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a record
    """A valid entry with some fields changed; None takes a field away."""
    whole = {
        "$type": "science.alt.dataset.entry",
        "name": "d1",
        "schemaRef": URI,
        "storage": HTTP,
        "createdAt": TIME,
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def label(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """A valid label with some fields changed."""
    whole = {
        "$type": "science.alt.dataset.label",
        "name": "d1",
        "datasetUri": URI,
        "createdAt": TIME,
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def schema(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    """A valid schema with some fields changed."""
    body = {
        "$type": "science.alt.dataset.schema#jsonSchemaFormat",
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"a": {"type": "integer"}},
    }
    whole = {
        "$type": "science.alt.dataset.schema",
        "name": "Sample",
        "version": "1.0.0",
        "schemaType": "jsonSchema",
        "schema": body,
        "createdAt": TIME,
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def blob(size: int = 10, media: str = "application/x-tar") -> dict[str, Any]:
    """Storage of one blob."""
    one = {
        "$type": "blob",
        "ref": Link(cid_bytes("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")),
        "mimeType": media,
        "size": size,
    }
    return {"$type": "science.alt.dataset.storageBlobs", "blobs": [{"blob": one}]}


GOOD = {
    "a whole entry": entry(
        description="x" * 5000,
        metadata=b"x" * 100_000,
        tags=["t" * 150] * 30,
        size={"samples": 0, "bytes": 0, "shards": 1},
        license="l" * 200,
        contentMetadata={"source": {"entryCid": "bafy"}},
        unknown={"nested": [1, None, True]},
    ),
    "an entry in a bucket": entry(
        storage={
            "$type": "science.alt.dataset.storageS3",
            "bucket": "b",
            "region": "eu-central-1",
            "endpoint": "https://s3.example.org",
            "shards": [{"key": "k", "checksum": {"algorithm": "sha256", "digest": "ab"}}],
        }
    ),
    "an entry of blobs": entry(storage=blob()),
    "a name of 200 bytes": entry(name="n" * 200),
    "a label": label(version="1.0.0-rc.1", description="d"),
    "a label of a handle": label(datasetUri="at://data.example.org/science.alt.dataset.entry/3jzfcijpj2z2a"),
    "a schema": schema(atdataSchemaVersion=1, description="d", metadata={"license": "MIT", "tags": ["a"]}),
    "a schema of a form nobody knows": schema(schema={"$type": "org.example.avro", "fields": []}),
}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a float": (entry(contentMetadata={"a": [1.5]}), "E_RECORD_TYPE contentMetadata.a[0]"),
    "an integer of 2^53": (entry(contentMetadata={"a": 2**53}), "E_RECORD_LIMIT contentMetadata.a"),
    "half a surrogate": (entry(name="\ud800"), "E_RECORD_TYPE name"),
    "a key that is not text": (entry(contentMetadata={1: "a"}), "E_RECORD_TYPE contentMetadata"),
    "no name": (entry(name=None), "E_RECORD_FIELD the field name"),
    "a name of 201 bytes": (entry(name="n" * 201), "E_RECORD_LIMIT name"),
    "a name of 101 characters and 202 bytes": (entry(name="é" * 101), "E_RECORD_LIMIT name"),
    "a number as name": (entry(name=7), "E_RECORD_TYPE name"),
    "a truth as number": (entry(size={"shards": True}), "E_RECORD_TYPE size.shards"),
    "no shard counted": (entry(size={"shards": 0}), "E_RECORD_LIMIT size.shards"),
    "31 tags": (entry(tags=["t"] * 31), "E_RECORD_LIMIT tags"),
    "a tag of 151 bytes": (entry(tags=["t" * 151]), "E_RECORD_LIMIT tags[0]"),
    "a license of 201 bytes": (entry(license="l" * 201), "E_RECORD_LIMIT license"),
    "a description of 5001 bytes": (entry(description="d" * 5001), "E_RECORD_LIMIT description"),
    "metadata of 100,001 bytes": (entry(metadata=b"x" * 100_001), "E_RECORD_LIMIT metadata"),
    "metadata as a map": (entry(metadata={"split": "train"}), "E_RECORD_TYPE metadata"),
    "a schema reference that is no address": (entry(schemaRef="local://x"), "E_RECORD_FORMAT schemaRef"),
    "a storage nobody knows": (entry(storage={"$type": "x.y.z"}), "E_RECORD_FIELD storage"),
    "no shards": (entry(storage={**HTTP, "shards": []}), "E_RECORD_LIMIT storage.shards"),
    "a shard without a checksum": (
        entry(storage={**HTTP, "shards": [{"url": "https://x.example/1.tar"}]}),
        "E_RECORD_FIELD storage.shards[0]",
    ),
    "a URL with a space": (
        entry(storage={**HTTP, "shards": [{**HTTP["shards"][0], "url": "https://x/ 1"}]}),
        "E_RECORD_FORMAT storage.shards[0].url",
    ),
    "a blob of another kind": (entry(storage=blob(media="*/*")), "E_RECORD_FIELD storage.blobs[0].blob"),
    "a blob of 50 MiB and one byte": (
        entry(storage=blob(size=52_428_801)),
        "E_RECORD_LIMIT storage.blobs[0].blob",
    ),
    "a time without zone": (entry(createdAt="2026-01-02T03:04:05"), "E_RECORD_FORMAT createdAt"),
    "a label's version of 51 bytes": (label(version="v" * 51), "E_RECORD_LIMIT version"),
    "a schema's version that is no SemVer": (schema(version="1.0"), "E_RECORD_FORMAT version"),
    "a schema of another draft": (
        schema(schema={**schema()["schema"], "$schema": "https://json-schema.org/draft/2020-12/schema"}),
        "E_RECORD_FIELD schema.$schema",
    ),
    "a collection nobody knows": ({"$type": "org.example.thing"}, "E_RECORD_FIELD the record"),
}


def refused(
    record: Mapping[str, Any], known: Mapping[str, Mapping[str, Definition]] | None = None
) -> list[str]:
    """Codes and fields of a record's problems."""

    def shown(problem: Problem) -> str:
        field = (
            problem.message.split(": ")[0]
            if ": " in problem.message
            else " ".join(problem.message.split()[:3])
        )
        return f"{problem.code} {field}"

    return [shown(problem) for problem in problems_of(record, where="a.yaml", known=known)]


@pytest.mark.parametrize("name", GOOD)
def test_a_record_within_its_lexicon_has_no_problems(name: str) -> None:
    assert refused(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_record_outside_its_lexicon_is_refused_for_the_field(name: str) -> None:
    record, expected = BAD[name]
    found = refused(record)
    assert (len(found), found[0][: len(expected)]) == (1, expected)


def test_all_problems_of_a_record_are_found_in_one_pass() -> None:
    assert refused(entry(name=7, tags=["t" * 151], createdAt="now")) == [
        "E_RECORD_TYPE name",
        "E_RECORD_LIMIT tags[0]",
        "E_RECORD_FORMAT createdAt",
    ]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published lexicons are not beside the checkout")
@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_the_published_lexicons_judge_alike(name: str) -> None:
    known: dict[str, dict[str, Definition]] = {}
    for path in SHARED.glob("*.json"):
        document = json.loads(path.read_text("utf-8"))
        known[document["id"]] = document["defs"]
    record = GOOD[name] if name in GOOD else BAD[name][0]
    # A union that does not say so is open; a storage that no reader knows is refused all the same.
    known["science.alt.dataset.entry"]["main"]["record"]["properties"]["storage"]["closed"] = True

    assert refused(record, known) == refused(record)
