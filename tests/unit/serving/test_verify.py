"""Verification of build roots and of published datasets: what passes, fails and cannot be recomputed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.canonical import canonical, sha256_hex
from reconciler.errors import Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving.manifest import (
    artifact_hash,
    encode_manifest,
    evidence_bundle_sha256,
    parse_manifest,
    recomputed_identity,
)
from reconciler.stores.serving.verify import (
    VerifyReport,
    check_promotable,
    check_publishable,
    verify_dataset,
)
from tests.unit.serving.examples import HUMAN, changed, codes, descriptor

MANIFEST = "derived/manifest.json"
ARTIFACT = "derived/gene_summary.sqlite"
LOCK = "derived/manifest.lock"
NEXT = DatasetId("111", "homo_sapiens", "GRCh38")


def report(
    directory: Path, *, store: bool = False, dataset: DatasetId = HUMAN, deep: bool = True
) -> VerifyReport:
    """The verification of one directory."""
    with descriptor(directory) as root:
        return verify_dataset(root, dataset, deep=deep, store=store)


def failed(found: VerifyReport) -> dict[str, list[str]]:
    """The codes of what failed, by check."""
    return {check.name: codes(check.problems) for check in found.checks if check.problems}


def unconfirmed(found: VerifyReport) -> list[str]:
    """The names of what could not be recomputed."""
    return [check.name for check in found.unconfirmed]


def alter(directory: Path, relpath: str, path: str, value: object) -> None:
    """Set one member of a document on disk."""
    document = json.loads((directory / relpath).read_bytes())
    (directory / relpath).write_bytes(canonical(changed(document, path, value)))


def reseal(directory: Path) -> None:
    """Make every hash of a dataset agree with its database, as its builder would."""
    document = json.loads((directory / MANIFEST).read_bytes())
    found = sha256_hex((directory / ARTIFACT).read_bytes())
    document["db_hash"] = document["checksums"]["sqlite_sha256"] = found
    draft = parse_manifest(canonical(document))
    sealed = recomputed_identity(draft)
    document["identity"] = {name: getattr(sealed, name) for name in sealed.__struct_fields__}
    document["artifact_hash"] = artifact_hash(parse_manifest(canonical(document)))
    data = encode_manifest(parse_manifest(canonical(document)))
    (directory / MANIFEST).write_bytes(data)
    if (directory / LOCK).exists():
        lock = {"manifest_sha256": sha256_hex(data), "sqlite_sha256": found}
        (directory / LOCK).write_text(json.dumps(lock, separators=(",", ":")))


def test_a_build_root_passes_everything_but_the_lock_it_does_not_have(built: Path) -> None:
    found = report(built)
    assert failed(found) == {}
    assert unconfirmed(found) == ["lock"]
    details = {check.name: check.detail for check in found.checks}
    assert details["signature"] == "ingest form"
    assert details["shards"] == "2 shards"
    assert details["evidence bundle"] == "8 files"
    assert details["inventory"] == "14 files"


def test_a_store_filled_by_the_references_publish_passes_what_can_be_recomputed(published: Path) -> None:
    found = report(published, store=True)
    assert failed(found) == {}
    assert unconfirmed(found) == [
        "inputs/genes.gff3.bgz",
        "inputs/genome.fa.bgz",
        "inputs/genome.fa.bgz.fai",
        "quality",
        "signature",
        "input identity",
        "evidence bundle",
        "inventory",
        "gene index",
        "column origins",
        "report gates",
    ]


def test_the_report_names_the_digest_of_the_manifest(published: Path) -> None:
    assert report(published).digest == f"sha256:{sha256_hex((published / MANIFEST).read_bytes())}"


def test_without_depth_nothing_deep_is_claimed(built: Path) -> None:
    names = [check.name for check in report(built, deep=False).checks]
    assert "signature" not in names
    assert names[:3] == ["manifest", "rules", "identity"]


def test_a_signature_in_the_verify_form_is_accepted_and_named(built: Path) -> None:
    with closing(sqlite3.connect(built / ARTIFACT)) as connection:
        connection.execute("DELETE FROM transcript_summary")
        connection.execute("DELETE FROM gene_summary")
        connection.commit()
    alter(
        built,
        MANIFEST,
        "dataset_signature_sha256",
        "8cafd81c6d18d95e86f6d90a798286d9f572ef83ccad820f49bb017bbb6cc64b",
    )
    signature = next(check for check in report(built).checks if check.name == "signature")
    assert (signature.status.value, signature.detail) == ("passed", "verify form")


@pytest.mark.parametrize(
    ("relpath", "expected"),
    [
        ("inputs/genes.gff3.bgz", {"inputs/genes.gff3.bgz": ["E_FILE_HASH"], "inventory": ["E_FILE_HASH"]}),
        ("inputs/genome.fa.bgz", {"inputs/genome.fa.bgz": ["E_FILE_HASH"], "inventory": ["E_FILE_HASH"]}),
        (
            "derived/dataset_stats.json",
            {"evidence bundle": ["E_FILE_HASH"], "inventory": ["E_FILE_HASH"]},
        ),
        ("derived/gene_summary.chr1.sqlite", {"shards": ["E_FILE_HASH"]}),
        ("derived/release_gene_index.json", {"inventory": ["E_FILE_HASH"]}),
    ],
)
def test_one_more_byte_in_a_file_is_found(built: Path, relpath: str, expected: dict[str, list[str]]) -> None:
    with (built / relpath).open("ab") as stream:
        stream.write(b"\n")
    assert failed(report(built)) == expected


@pytest.mark.parametrize(
    ("relpath", "check"),
    [
        ("inputs/genome.fa.bgz.fai", "inputs/genome.fa.bgz.fai"),
        ("derived/catalog_shards.json", "shards"),
        ("derived/gene_summary.chr2.sqlite", "shards"),
        ("derived/evidence_bundle.lock.json", "evidence bundle"),
        ("derived/artifact_inventory.json", "inventory"),
        ("derived/release_gene_index.json", "gene index"),
        ("derived/canonical_features.json", "canonical summary"),
    ],
)
def test_a_missing_file_is_named_and_not_created(built: Path, relpath: str, check: str) -> None:
    (built / relpath).unlink()
    assert "E_FILE_MISSING" in failed(report(built))[check]
    assert not (built / relpath).exists()


def test_verifying_writes_nothing(built: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(built.rglob("*"))}
    report(built)
    assert {path: path.stat().st_mtime_ns for path in sorted(built.rglob("*"))} == before


@pytest.mark.parametrize(
    ("relpath", "path", "value", "found"),
    [
        (MANIFEST, "artifact_hash", "0" * 64, ("artifact hash", "E_ARTIFACT_ID")),
        (MANIFEST, "dataset_signature_sha256", "0" * 64, ("signature", "E_SIGNATURE")),
        (MANIFEST, "stats.transcript_count", 9, ("row counts", "E_STATS")),
        (MANIFEST, "canonical_lineage_sha256", "0" * 64, ("lineage", "E_CANONICAL_HASH")),
        (MANIFEST, "db_hash", "0" * 64, ("artifact", "E_ARTIFACT_HASH")),
        (MANIFEST, "evidence_bundle_sha256", "pending", ("evidence bundle", "E_EVIDENCE")),
        ("derived/evidence_bundle.lock.json", "bundle_sha256", "0" * 64, ("evidence bundle", "E_EVIDENCE")),
        ("derived/evidence_bundle.lock.json", "release_id", "x", ("evidence bundle", "E_EVIDENCE")),
        ("derived/evidence_bundle.lock.json", "note", "x", ("evidence bundle", "E_UNKNOWN_FIELD")),
        ("derived/evidence_bundle.lock.json", "dataset.release", "111", ("evidence bundle", "E_IDENTITY")),
        (
            "derived/canonical_summary.json",
            "hashes.query_semantic_sha256",
            "x",
            ("canonical summary", "E_CANONICAL_HASH"),
        ),
        ("derived/catalog_shards.json", "dataset.release", "111", ("shards", "E_IDENTITY")),
        ("derived/catalog_shards.json", "mode", " ", ("shards", "E_SHARDS")),
        ("derived/qc.json", "counts.genes", 0, ("quality", "E_GATE")),
    ],
)
def test_a_document_that_lies_is_found(
    built: Path, relpath: str, path: str, value: object, found: tuple[str, str]
) -> None:
    alter(built, relpath, path, value)
    check, code = found
    assert code in failed(report(built))[check]


@pytest.mark.parametrize("name", ["/etc/hostname", "derived/../../x", "../x", "derived/manifest.json"])
def test_a_bundle_that_names_other_files_is_refused_and_they_are_not_opened(built: Path, name: str) -> None:
    bundle = json.loads((built / "derived/evidence_bundle.lock.json").read_bytes())
    bundle["files"][name] = "0" * 64
    bundle["bundle_sha256"] = evidence_bundle_sha256(HUMAN, bundle["release_id"], bundle["files"])
    (built / "derived/evidence_bundle.lock.json").write_bytes(canonical(bundle))
    alter(built, MANIFEST, "evidence_bundle_sha256", bundle["bundle_sha256"])
    assert failed(report(built))["evidence bundle"] == ["E_EVIDENCE"]


def test_an_empty_bundle_does_not_pass(built: Path) -> None:
    alter(built, "derived/evidence_bundle.lock.json", "files", {})
    assert "E_EVIDENCE" in failed(report(built))["evidence bundle"]


@pytest.mark.parametrize("path", ["/etc/hostname", "../x", "derived/../../x", "elsewhere/x"])
def test_an_inventory_path_that_leaves_the_dataset_is_refused(built: Path, path: str) -> None:
    inventory = json.loads((built / "derived/artifact_inventory.json").read_bytes())
    inventory["items"][0]["path"] = path
    (built / "derived/artifact_inventory.json").write_bytes(canonical(inventory))
    assert "E_EVIDENCE" in failed(report(built))["inventory"]


def test_an_inventory_with_a_wrong_size_is_found(built: Path) -> None:
    inventory = json.loads((built / "derived/artifact_inventory.json").read_bytes())
    inventory["items"][0]["bytes"] += 1
    (built / "derived/artifact_inventory.json").write_bytes(canonical(inventory))
    assert failed(report(built))["inventory"] == ["E_FILE_HASH"]


@pytest.mark.parametrize("path", ["../gene_summary.sqlite", "/etc/hostname", "a/../b"])
def test_a_shard_outside_derived_is_refused(built: Path, path: str) -> None:
    shards = json.loads((built / "derived/catalog_shards.json").read_bytes())
    shards["shards"][0]["sqlite_path"] = path
    (built / "derived/catalog_shards.json").write_bytes(canonical(shards))
    assert failed(report(built))["shards"] == ["E_SHARDS"]


def test_unsorted_shards_are_refused(built: Path) -> None:
    shards = json.loads((built / "derived/catalog_shards.json").read_bytes())
    shards["shards"].reverse()
    (built / "derived/catalog_shards.json").write_bytes(canonical(shards))
    assert failed(report(built))["shards"] == ["E_SHARDS"]


def test_a_dataset_under_anothers_path_is_found(published: Path) -> None:
    found = failed(report(published, store=True, dataset=NEXT))
    assert found["identity"] == ["E_IDENTITY"]
    assert found["database"] == ["E_IDENTITY"]
    assert found["derived/immutable.release.json"] == ["E_IDENTITY"]


def test_no_manifest_is_not_published(tmp_path: Path) -> None:
    assert failed(report(tmp_path)) == {"manifest": ["E_NOT_PUBLISHED"]}


def test_a_torn_manifest_is_found(published: Path) -> None:
    data = (published / MANIFEST).read_bytes()
    (published / MANIFEST).write_bytes(data[:-1])
    assert failed(report(published, store=True)) == {"manifest": ["E_JSON_SYNTAX"]}


@pytest.mark.parametrize("relpath", [MANIFEST, ARTIFACT, LOCK])
def test_a_link_in_a_store_is_an_error_of_the_store(published: Path, tmp_path: Path, relpath: str) -> None:
    (published / relpath).rename(tmp_path / "outside")
    (published / relpath).symlink_to(tmp_path / "outside")
    with pytest.raises(Unavailable) as refused:
        report(published, store=True)
    assert refused.value.code == "E_STORE_LINK"


def promotable(directory: Path, dataset: DatasetId = HUMAN) -> list[str]:
    with descriptor(directory) as root:
        return codes(check_promotable(root, dataset))


def test_a_published_dataset_may_be_promoted(published: Path) -> None:
    assert promotable(published) == []


def test_a_build_root_may_not_be_promoted_but_published(built: Path) -> None:
    assert promotable(built) == ["E_LOCK_MISSING"]
    with descriptor(built) as root:
        assert check_publishable(root, HUMAN) == ()


@pytest.mark.parametrize(
    ("relpath", "data", "expected"),
    [
        (MANIFEST, b'{"manifest":"ok"}', ["E_UNKNOWN_FIELD"]),
        (ARTIFACT, b"sqlite", ["E_ARTIFACT_HASH", "E_ARTIFACT_HASH", "E_SQLITE_MAGIC"]),
        (LOCK, b"{}", ["E_REQUIRED"]),
        (LOCK, b'{"manifest_sha256":"x","sqlite_sha256":"y"}', ["E_MANIFEST_HASH", "E_ARTIFACT_HASH"]),
    ],
)
def test_what_the_reference_would_promote_is_refused(
    published: Path, relpath: str, data: bytes, expected: list[str]
) -> None:
    (published / relpath).write_bytes(data)
    assert promotable(published) == expected


def test_a_broken_rule_keeps_a_dataset_from_promotion(published: Path) -> None:
    alter(published, MANIFEST, "toolchain_hash", "")
    assert promotable(published) == ["E_MANIFEST_RULE", "E_MANIFEST_HASH"]


def test_another_release_under_this_path_is_not_promotable(published: Path) -> None:
    assert set(promotable(published, NEXT)) == {"E_IDENTITY"}


def test_a_missing_database_is_named(published: Path) -> None:
    (published / ARTIFACT).unlink()
    assert promotable(published) == ["E_FILE_MISSING", "E_FILE_MISSING"]


def test_a_resealed_database_without_its_indexes_is_not_promotable(published: Path) -> None:
    with closing(sqlite3.connect(published / ARTIFACT)) as connection:
        connection.execute("DROP INDEX idx_gene_summary_name")
    reseal(published)
    assert promotable(published) == ["E_SQLITE_INDEX"]


def test_quality_is_the_gates_business_not_validations(built: Path) -> None:
    (built / "derived/qc.json").unlink()
    with descriptor(built) as root:
        assert check_publishable(root, HUMAN) == ()


def test_a_copy_of_a_dataset_verifies_as_the_original(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "copy")
    assert report(tmp_path / "copy") == report(built)


@pytest.mark.parametrize(("data", "code"), [(b"sqlite", "E_SQLITE_MAGIC"), (None, "E_FILE_MISSING")])
def test_rows_that_cannot_be_read_fail_and_are_not_left_out(
    built: Path, data: bytes | None, code: str
) -> None:
    (built / ARTIFACT).unlink()
    if data is not None:
        (built / ARTIFACT).write_bytes(data)
    found = failed(report(built))
    assert (found["row counts"], found["signature"]) == ([code], [code])


def test_a_canonical_model_that_was_not_published_is_not_confirmed(built: Path) -> None:
    (built / "derived/canonical_summary.json").unlink()
    (built / "derived/canonical_features.json").unlink()
    names = unconfirmed(report(built, store=True))
    assert {"canonical summary", "query semantics", "lineage"} <= set(names)


def test_a_hash_over_fractions_is_not_confirmed_rather_than_failed(built: Path) -> None:
    alter(built, "derived/canonical_summary.json", "query_semantic_payload", [{"gc": [1e16, 0.5]}])
    check = next(check for check in report(built).checks if check.name == "query semantics")
    assert (check.status.value, check.problems) == ("not_recomputable", ())


def test_a_payload_left_out_of_the_summary_is_not_confirmed(built: Path) -> None:
    alter(built, "derived/canonical_summary.json", "query_semantic_payload", ...)
    assert "query semantics" in unconfirmed(report(built))


def test_a_signature_over_another_schema_is_not_confirmed(built: Path) -> None:
    with closing(sqlite3.connect(built / ARTIFACT)) as connection:
        connection.execute("DROP TABLE transcripts")
    alter(built, MANIFEST, "dataset_signature_sha256", "0" * 64)
    assert "signature" in unconfirmed(report(built))


def test_shards_that_were_not_published_are_not_confirmed(built: Path) -> None:
    (built / "derived/catalog_shards.json").unlink()
    assert "shards" in unconfirmed(report(built, store=True))


def test_records_of_another_publish_are_found(published: Path) -> None:
    alter(published, "derived/immutable.release.json", "sqlite_sha256", "0" * 64)
    (published / "derived/lifecycle.state.json").unlink()
    found = report(published, store=True)
    assert failed(found) == {"derived/immutable.release.json": ["E_ARTIFACT_HASH"]}
    assert "derived/lifecycle.state.json" in unconfirmed(found)


def test_a_store_without_a_lock_was_not_published_completely(published: Path) -> None:
    (published / LOCK).unlink()
    assert failed(report(published, store=True)) == {"lock": ["E_LOCK_MISSING"]}
