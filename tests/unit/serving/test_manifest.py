"""`manifest.json`: members, hashes, and each of the 22 rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.canonical import sha256_hex
from reconciler.errors import InvalidInput
from reconciler.stores.serving.manifest import (
    Checksums,
    Manifest,
    SourceNames,
    artifact_hash,
    broken_rules,
    check_rules,
    encode_manifest,
    evidence_bundle_sha256,
    identity,
    normalized_input_identity,
    parse_manifest,
    rule_problems,
)
from tests.unit.serving.examples import HUMAN, changed, json_bytes, smallest

SUMS = Checksums("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def parsed(path: str = "", value: object = None) -> Manifest:
    document = smallest()
    return parse_manifest(json_bytes(changed(document, path, value) if path else document))


def test_the_identity_is_the_worked_example_of_the_contract() -> None:
    found = identity(HUMAN, SUMS, manifest_version="1", schema_version="1", db_schema_version="1")
    assert found.release_id == "110/homo_sapiens/GRCh38"
    assert (
        found.source_fingerprint_sha256 == "c6d58696d237b90b6f11f38d51fd799328834d96146ef572d94bcd7a3b30f682"
    )
    assert (
        found.build_fingerprint_sha256 == "8f81d9d5b579978981d4736cd5b64b52b523a1cb2ae7113466ad17feb4b9302b"
    )
    assert (
        found.artifact_fingerprint_sha256
        == "25649e453a98cbabdedbaaa7d5e46d42c1a68ed6a18cd1aae56a5b504829ffa2"
    )
    assert (
        found.canonical_metadata_sha256 == "86b92e1deb8b1257cd4690c6d22a8f794edcdcef52d7a2047a4b60a8227a5030"
    )


def test_a_manifest_has_the_47_members_of_the_contract() -> None:
    assert len(Manifest.__struct_fields__) == 47


def test_the_artifact_hash_covers_18_members() -> None:
    assert artifact_hash(parsed()) == "0c88277d3c97140cfcf5760bfdf616bc7346ad79e747de0a3257877bc06b8f03"
    assert artifact_hash(parsed("software_version", "9")) == artifact_hash(parsed())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("artifact_version", "v2"),
        ("schema_version", "2"),
        ("db_schema_version", "2"),
        ("dataset.release", "111"),
        ("checksums.fai_sha256", "0"),
        ("input_hashes.policy_sha256", "0"),
        ("stats.contig_count", 2),
        ("dataset_signature_sha256", "0"),
        ("canonical_model_schema_version", 1),
        ("canonical_query_semantic_sha256", "0"),
        ("canonical_lineage_sha256", "0"),
        ("canonical_feature_counts", {"gene": 1}),
        ("reference_build_identity_sha256", "0"),
        ("contig_naming_style", "chr_prefixed"),
        ("coordinate_system", "1-based-closed"),
        ("scientific_prerequisites_status", "complete"),
        ("toolchain_hash", "0"),
        ("db_hash", "0"),
    ],
)
def test_each_hashed_member_moves_the_artifact_hash(path: str, value: object) -> None:
    assert artifact_hash(parsed(path, value)) != artifact_hash(parsed())


def test_the_evidence_bundle_hash_covers_files_and_dataset() -> None:
    assert (
        evidence_bundle_sha256(HUMAN, "110/homo_sapiens/GRCh38", {"derived/qc_report.json": "a" * 64})
        == "8e395c5b917e6996343ef2a7fa04b1697bb1bd815177f218250c6480d22f96d6"
    )


def test_the_input_identity_covers_hashes_names_and_aliases() -> None:
    assert (
        normalized_input_identity(SUMS, SourceNames("g", "f", "i"), {"1": "chr1"})
        == "ff899adb71c7e7c2d88d858449e3acf48e74dbf630f4f2c32d4e6b0d0a02b0e6"
    )


def test_the_smallest_manifest_keeps_all_rules() -> None:
    assert rule_problems(parsed()) == ()
    check_rules(parsed())


@pytest.mark.parametrize(
    ("path", "value", "numbers"),
    [
        ("artifact_version", " ", [1]),
        ("schema_version", " ", [2, 6, 7, 22]),
        ("identity_schema_version", " ", [3, 8]),
        ("manifest_version", " ", [4, 6, 22]),
        ("db_schema_version", " ", [5, 7, 22]),
        ("manifest_version", "2", [6, 22]),
        ("db_schema_version", "4", [7, 22]),
        ("identity_schema_version", "2", [8]),
        ("input_hashes.policy_sha256", "", [9]),
        ("toolchain_hash", ..., [10]),
        ("source_facts_path", "", [11]),
        ("normalized_input_identity_sha256", "\t", [11]),
        ("software_version", "", [12]),
        ("config_version", "", [12]),
        ("build_policy_version", "", [12]),
        ("build_metadata_path", "", [13]),
        ("anomaly_summary_path", "", [13]),
        ("dataset_stats_path", "", [13]),
        ("artifact_inventory_path", "", [13]),
        ("evidence_bundle_path", "", [13]),
        ("evidence_bundle_sha256", "", [13]),
        ("db_hash", "", [14, 17]),
        ("artifact_hash", "", [15]),
        ("canonical_model_schema_version", 1, [16]),
        ("db_hash", "0" * 64, [17]),
        ("stats.gene_count", 0, [18]),
        ("derived_column_origins", {}, [19]),
        ("identity.release_id", " ", [20, 21, 22]),
        ("identity.source_fingerprint_sha256", "x" * 64, [20, 22]),
        ("identity.canonical_metadata_sha256", "0" * 64, [20, 22]),
        ("dataset.release", "111", [21, 22]),
        ("checksums.fasta_sha256", "0" * 64, [22]),
    ],
)
def test_each_rule_is_named_by_its_number(path: str, value: object, numbers: list[int]) -> None:
    manifest = parsed(path, value)
    assert sorted(number for number, _ in broken_rules(manifest)) == numbers
    with pytest.raises(InvalidInput) as refused:
        check_rules(manifest, "m.json")
    assert [problem.code for problem in refused.value.problems] == ["E_MANIFEST_RULE"] * len(numbers)
    assert refused.value.problems[0].message.startswith(f"rule {numbers[0]}: ")


def test_a_canonical_model_with_both_hashes_keeps_rule_16() -> None:
    document = smallest() | {
        "canonical_model_schema_version": 1,
        "canonical_query_semantic_sha256": "0",
        "canonical_lineage_sha256": "0",
    }
    assert rule_problems(parse_manifest(json_bytes(document))) == ()


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("owner", "me", "E_UNKNOWN_FIELD"),
        ("stats.exon_count", 1, "E_UNKNOWN_FIELD"),
        ("manifest_version", ..., "E_REQUIRED"),
        ("checksums.fai_sha256", ..., "E_REQUIRED"),
        ("input_hashes.policy_sha256", ..., "E_REQUIRED"),
        ("identity.release_id", ..., "E_REQUIRED"),
        ("stats.gene_count", 1.0, "E_TYPE"),
        ("stats.gene_count", -1, "E_TYPE"),
        ("stats.gene_count", "1", "E_TYPE"),
        ("db_hash", None, "E_TYPE"),
        ("sharding_plan", "region", "E_TYPE"),
        ("model_version", "v2", "E_SCHEMA_VERSION"),
        ("model_version", None, "E_SCHEMA_VERSION"),
        ("dataset.release", "../../x", "E_ID_PATH"),
        ("dataset.assembly", "a b", "E_ID_CHARS"),
        ("created_at", "yesterday", "E_MANIFEST_TIME"),
        ("created_at", "2026-02-24T00:00:00+01:00", "E_MANIFEST_TIME"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(path: str, value: object, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(path, value)
    assert (refused.value.code, refused.value.problems[0].path) == (code, "manifest.json")


@pytest.mark.parametrize("text", ["", "  ", "2026-02-24T00:00:00Z"])
def test_a_time_is_absent_or_in_utc(text: str) -> None:
    assert rule_problems(parsed("created_at", text)) == ()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"manifest_version":"1","manifest_version":"1"}', "E_JSON_DUP"),
        (b'{"stats":NaN}', "E_JSON_NUMBER"),
        (b'{"stats":1e400}', "E_JSON_NUMBER"),
        (b'{"db_hash":"\\udc00"}', "E_JSON_TEXT"),
        (b"[" * 100_000, "E_JSON_DEPTH"),
        (b"", "E_JSON_SYNTAX"),
        (b"[]", "E_TYPE"),
        (b" " * 5_000_001, "E_JSON_SIZE"),
    ],
)
def test_json_that_readers_disagree_on_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_manifest(data)
    assert refused.value.code == code


def test_members_left_out_have_the_defaults_of_the_contract() -> None:
    manifest = parsed("identity", ...)
    assert (manifest.sharding_plan, manifest.canonical_model_schema_version) == ("none", 0)
    assert (manifest.identity.release_id, manifest.created_at) == ("", "")


def test_empty_maps_are_left_out_of_the_bytes() -> None:
    data = encode_manifest(parsed("contig_normalization_aliases", {}))
    assert b"contig_normalization_aliases" not in data
    assert b"derived_column_origins" not in data
    assert parse_manifest(data) == parsed()


def test_the_bytes_of_a_manifest_do_not_depend_on_how_it_was_written() -> None:
    assert (
        sha256_hex(encode_manifest(parsed()))
        == "3363ab992721d046dfa398feb9086d44a70988bf260c255a40735e5f58298d4b"
    )


MODEL = Path(__file__).parents[4] / "shared" / "data" / "serving" / "model"


@pytest.mark.skipif(
    not MODEL.is_dir(), reason="the reference's sample documents are not beside this checkout"
)
@pytest.mark.parametrize("version", ["current", "v0_1"])
def test_the_references_own_sample_parses_and_first_fails_at_rule_11(version: str) -> None:
    manifest = parse_manifest((MODEL / version / "artifact_manifest.json").read_bytes())
    assert next(iter(rule_problems(manifest))).message.startswith("rule 11: ")
