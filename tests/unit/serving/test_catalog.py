"""`catalog.json`: exact bytes, both readers, edits."""

from __future__ import annotations

import json

import pytest

from reconciler.canonical import sha256_hex
from reconciler.errors import Corrupt, InvalidInput
from reconciler.model import DatasetId
from reconciler.stores.serving.catalog import (
    EMPTY,
    Catalog,
    Entry,
    Paths,
    catalog_sha256,
    encode_catalog,
    entry_of,
    parse_catalog,
    parse_catalog_digest,
    standard_paths,
    struct_digest,
)
from reconciler.stores.serving.documents import LIVE_CATALOG
from tests.unit.serving.examples import CATALOG_BYTES, HUMAN, json_bytes

ONE = Catalog((Entry(HUMAN),))
MOUSE = DatasetId("110", "mus_musculus", "GRCm39")


def entry(**changes: object) -> dict[str, object]:
    paths = standard_paths(HUMAN)
    document: dict[str, object] = {
        "dataset": HUMAN._asdict(),
        "manifest_path": paths.manifest,
        "sqlite_path": paths.sqlite,
    }
    return {name: value for name, value in (document | changes).items() if value is not ...}


def catalog(*entries: object) -> bytes:
    return json_bytes({"datasets": list(entries)})


def test_one_promoted_dataset_is_the_292_bytes_of_the_contract() -> None:
    assert encode_catalog(ONE) == CATALOG_BYTES
    assert len(CATALOG_BYTES) == 292


def test_the_digests_of_one_dataset_are_those_of_the_contract() -> None:
    assert catalog_sha256(ONE) == "058cbdd160734ac2ff74816f4a07e54a2a9b4d135f63df85de69192453b30f3a"
    assert struct_digest(ONE) == "319ff434319ad0a5ae1761d1eabcc93588b7be3c518d6331e7415e2142316d82"


def test_the_digests_of_the_empty_catalog_are_those_of_the_contract() -> None:
    assert encode_catalog(EMPTY) == b'{"datasets":[],"model_version":"v1"}'
    assert (catalog_sha256(EMPTY)[:12], catalog_sha256(EMPTY)[-5:]) == ("a2984efc6c68", "3749e")
    assert (struct_digest(EMPTY)[:12], struct_digest(EMPTY)[-7:]) == ("f0f1b1d2c721", "be960b7")


def test_canonical_bytes_are_read_back() -> None:
    assert parse_catalog(CATALOG_BYTES) == ONE


@pytest.mark.parametrize(
    "data",
    [
        CATALOG_BYTES + b"\n",
        json.dumps(json.loads(CATALOG_BYTES), indent=2).encode(),
        json_bytes({"datasets": [entry()]}),
        json_bytes({"model_version": "v1", "datasets": [entry(diff_artifacts=[])]}),
    ],
    ids=["newline", "pretty", "without model_version", "empty diff_artifacts"],
)
def test_what_the_reference_reads_gives_the_same_catalog(data: bytes) -> None:
    assert parse_catalog(data) == ONE


def test_foreign_paths_and_diff_artifacts_are_kept() -> None:
    data = json_bytes(
        {
            "model_version": "v1",
            "datasets": [
                entry(
                    manifest_path="x/manifest.json",
                    sqlite_path="x/db",
                    diff_artifacts=["x/b.json", "x/a.json"],
                )
            ],
        }
    )
    found = parse_catalog(data)
    assert found.entries == (Entry(HUMAN, Paths("x/manifest.json", "x/db"), ("x/b.json", "x/a.json")),)
    assert json.loads(encode_catalog(found)) == json.loads(data)


def test_diffs_beside_standard_paths_survive_a_round_trip_of_canonical_bytes() -> None:
    listed = Catalog((Entry(HUMAN, None, ("derived/diff.json",)), Entry(MOUSE)))
    assert parse_catalog(encode_catalog(listed)) == listed


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (catalog(entry(owner="me")), "E_UNKNOWN_FIELD"),
        (json_bytes({"datasets": [], "generation": 1}), "E_UNKNOWN_FIELD"),
        (b'{"datasets":[],"datasets":[]}', "E_JSON_DUP"),
        (b'{"datasets":[],"model_version":"v1","datasets":[],"model_version":"v1"}', "E_JSON_DUP"),
        (b'{"datasets":[{"dataset":1,"dataset":2}]}', "E_JSON_DUP"),
        (CATALOG_BYTES.replace(b'"model', b'"datasets":[],"model'), "E_JSON_DUP"),
        (b'{"datasets":[],"datasets":[]}' + b" " * 7, "E_JSON_DUP"),
        (catalog(entry(), entry()), "E_CATALOG_DUP"),
        (catalog(entry(), entry(sqlite_path="x")), "E_CATALOG_DUP"),
        (catalog(entry(dataset=MOUSE._asdict(), sqlite_path="x"), entry()), "E_CATALOG_ORDER"),
        (catalog(entry(manifest_path=" ")), "E_CATALOG_PATH"),
        (catalog(entry(sqlite_path="")), "E_CATALOG_PATH"),
        (catalog(entry(sqlite_path=...)), "E_REQUIRED"),
        (catalog(entry(manifest_path=None)), "E_TYPE"),
        (catalog(entry(diff_artifacts="x")), "E_TYPE"),
        (catalog(list(entry().values())), "E_TYPE"),
        (catalog(entry(dataset={"release": "../../x", "species": "a", "assembly": "b"})), "E_ID_PATH"),
        (catalog(entry(dataset={"release": "1", "species": "a", "assembly": ".."})), "E_ID_PATH"),
        (catalog(entry(dataset={"release": "x", "species": "a", "assembly": "b"})), "E_ID_CHARS"),
        (catalog(entry(dataset={"release": "1", "species": "a" * 65, "assembly": "b"})), "E_ID_LENGTH"),
        (CATALOG_BYTES.replace(b"homo_sapiens", b"a" * 65), "E_ID_LENGTH"),
        (CATALOG_BYTES.replace(b"GRCh38", b"."), "E_ID_PATH"),
        (CATALOG_BYTES.replace(b"GRCh38", b".."), "E_ID_PATH"),
        (b'{"datasets":[],"model_version":"v2"}', "E_SCHEMA_VERSION"),
        (b'{"datasets":[],"model_version":null}', "E_SCHEMA_VERSION"),
        (b"{}", "E_REQUIRED"),
        (b"[]", "E_TYPE"),
        (b"", "E_JSON_SYNTAX"),
        (CATALOG_BYTES[:-1], "E_JSON_SYNTAX"),
        (CATALOG_BYTES[:150], "E_JSON_SYNTAX"),
        (CATALOG_BYTES + CATALOG_BYTES, "E_JSON_SYNTAX"),
        (b'{"datasets":[NaN]}', "E_JSON_NUMBER"),
        (b'{"datasets":[{"dataset":"\\ud800"}]}', "E_JSON_TEXT"),
        (b'{"datasets":' + b"[" * 100_000, "E_JSON_DEPTH"),
        (b"\xff\xfe", "E_ENCODING"),
    ],
)
def test_a_catalog_that_readers_disagree_on_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_catalog(data, "given.json")
    assert refused.value.code == code
    assert refused.value.problems[0].path.startswith("given.json")
    with pytest.raises(Corrupt) as live:
        parse_catalog(data, origin=LIVE_CATALOG)
    assert live.value.code == "E_LIVE_CATALOG"
    assert live.value.problems[0].fix == "run reconciler catalog rebuild"


def test_an_entry_at_the_limits_of_the_grammar_is_recognised() -> None:
    longest = Catalog((Entry(DatasetId("0" * 16, "a" * 64, "." + "Z" * 63)),))
    assert parse_catalog(encode_catalog(longest)) == longest
    dots = Catalog((Entry(DatasetId("1", "a", "...")), Entry(DatasetId("1", "a", "..a"))))
    assert parse_catalog(encode_catalog(dots)) == dots


def test_releases_are_sorted_as_text() -> None:
    ids = [DatasetId(release, "a", "b") for release in ("99", "110", "9")]
    listed = EMPTY.edited({dataset: Entry(dataset) for dataset in ids})
    assert [item.id.release for item in listed.entries] == ["110", "9", "99"]


def test_an_edit_leaves_every_other_entry_alone() -> None:
    foreign = Entry(HUMAN, Paths("x", "y"), ("z",))
    listed = Catalog((foreign,)).with_entry(Entry(MOUSE))
    assert listed.entries == (foreign, Entry(MOUSE))
    assert listed.without(MOUSE) == Catalog((foreign,))
    assert listed.without(DatasetId("1", "a", "b")) == listed


def test_find_names_the_entry_or_none() -> None:
    listed = Catalog((Entry(HUMAN), Entry(MOUSE)))
    assert listed.find(MOUSE) == Entry(MOUSE)
    assert listed.find(DatasetId("111", "homo_sapiens", "GRCh38")) is None


def test_standard_paths_are_not_kept_twice() -> None:
    assert entry_of(HUMAN, standard_paths(HUMAN)) == Entry(HUMAN)
    assert (
        Entry(HUMAN).manifest_path == "release=110/species=homo_sapiens/assembly=GRCh38/derived/manifest.json"
    )
    assert Entry(HUMAN, Paths("x", "y")).sqlite_path == "y"


def test_the_digest_file_is_read_as_its_first_word_in_lower_case() -> None:
    assert parse_catalog_digest(b"  " + b"AB" * 32 + b"  catalog.json\n") == "ab" * 32


@pytest.mark.parametrize("data", [b"", b"abc", b"g" * 64, b"\xff" * 64, b"a" * 65])
def test_a_digest_file_without_a_sha256_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_catalog_digest(data)
    assert refused.value.code == "E_CATALOG_DIGEST"


def test_the_alias_hash_is_of_the_written_bytes() -> None:
    listed = Catalog((Entry(HUMAN, Paths("é", "y")), Entry(MOUSE)))
    assert catalog_sha256(listed) == sha256_hex(encode_catalog(listed))
