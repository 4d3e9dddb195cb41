"""The sample builder: logical content of what it makes from a small annotation, row by row."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import InvalidInput
from reconciler.model import DatasetId
from reconciler.stores.serving import contents
from reconciler.stores.serving.gates import check_gates
from reconciler.stores.serving.lock_files import parse_immutable, parse_lock, parse_state, parse_transitions
from reconciler.stores.serving.manifest import artifact_hash, check_rules, encode_manifest, parse_manifest
from reconciler.stores.serving.verification import Status
from reconciler.stores.serving.verify import check_promotable, verify_dataset
from reconciler.testing.fasta import read_fasta
from reconciler.testing.gff3 import Annotation, read_gff3
from reconciler.testing.samples import BuiltRoot, Sharding, Stage, build_root, main, minimal_dataset

ID = DatasetId("110", "homo_sapiens", "GRCh38")
FASTA = ">chr1 first\nACGTNNGC\nAC\n>chr2\nGGGG\n"
GFF3 = """##gff-version 3
chr1\t.\texon\t1\t3\t.\t+\t.\tParent=t1,t2
chr1\t.\tgene\t1\t8\t.\t+\t.\tID=g1;Name=ABC;biotype=protein_coding
chr1\t.\tmRNA\t1\t8\t.\t+\t.\tID=t1;Parent=g1;biotype=protein_coding
chr1\t.\texon\t6\t8\t.\t+\t.\tID=e2;Parent=t1
chr1\t.\tCDS\t2\t7\t.\t+\t0\tID=c1;Parent=t1
chr1\t.\ttranscript\t1\t3\t.\t+\t.\tID=t2;Parent=g1
chr2\t.\tgene\t2\t4\t.\t-\t.\tID=g2;gene_name=D%20E;gene_biotype=lncRNA
"""


@pytest.fixture
def built(tmp_path: Path) -> BuiltRoot:
    return build(tmp_path, GFF3)


def build(tmp_path: Path, gff3: str, sharding: Sharding = Sharding.NONE) -> BuiltRoot:
    (tmp_path / "genes.gff3").write_text(gff3, encoding="utf-8")
    (tmp_path / "genome.fa").write_text(FASTA, encoding="utf-8")
    return build_root(
        tmp_path / "out",
        dataset=ID,
        gff3=tmp_path / "genes.gff3",
        fasta=tmp_path / "genome.fa",
        sharding=sharding,
    )


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(query).fetchall()


def artifact(built: BuiltRoot) -> Path:
    return built.directory / contents.ARTIFACT


def document(built: BuiltRoot, name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((built.directory / f"derived/{name}.json").read_bytes())


def annotation(text: str) -> Annotation:
    return read_gff3(text, {"chr1": 10, "chr2": 4})


def test_a_build_root_holds_exactly_the_documented_files(built: BuiltRoot) -> None:
    files = {str(path.relative_to(built.directory)) for path in built.directory.rglob("*") if path.is_file()}
    assert files == {
        "inputs/genes.gff3.bgz",
        "inputs/genome.fa.bgz",
        "inputs/genome.fa.bgz.fai",
        "derived/manifest.json",
        "derived/gene_summary.sqlite",
        "derived/anomaly_report.json",
        "derived/anomaly_summary.json",
        "derived/qc_report.json",
        "derived/qc.json",
        "derived/source_facts.json",
        "derived/build_metadata.json",
        "derived/dataset_stats.json",
        "derived/scientific_profile.json",
        "derived/artifact_inventory.json",
        "derived/evidence_bundle.lock.json",
        "derived/canonical_features.json",
        "derived/canonical_summary.json",
        "derived/release_gene_index.json",
    }


def test_gene_rows_are_derived_from_their_parts(built: BuiltRoot) -> None:
    wanted = [
        (1, "g1", "ABC", "abc", "protein_coding", "chr1", 1, 8, 2, 2, 6, 1, 8),
        (2, "g2", "D E", "d e", "lncRNA", "chr2", 2, 4, 0, 0, 0, 0, 3),
    ]
    assert rows(artifact(built), "SELECT * FROM gene_summary ORDER BY id") == wanted
    assert rows(artifact(built), "SELECT * FROM genes ORDER BY id") == wanted


def test_transcript_rows_are_derived_from_their_parts(built: BuiltRoot) -> None:
    assert rows(artifact(built), "SELECT * FROM transcripts ORDER BY id") == [
        (1, "t2", "g1", "transcript", None, "chr1", 1, 3, 1, 3, 0, 3, 3, None),
        (2, "t1", "g1", "mRNA", "protein_coding", "chr1", 1, 8, 2, 6, 1, 8, 6, 6),
    ]
    assert rows(artifact(built), "SELECT * FROM transcript_summary ORDER BY id") == [
        (1, "t2", "g1", "transcript", None, "chr1", 1, 3, 1, 3, 0),
        (2, "t1", "g1", "mRNA", "protein_coding", "chr1", 1, 8, 2, 6, 1),
    ]


def test_exons_contigs_statistics_and_regions_are_complete(built: BuiltRoot) -> None:
    assert rows(artifact(built), "SELECT * FROM exons ORDER BY id") == [
        (1, "t1:exon:1-3", "t1", "chr1", 1, 3, 3),
        (2, "t2:exon:1-3", "t2", "chr1", 1, 3, 3),
        (3, "e2", "t1", "chr1", 6, 8, 3),
    ]
    assert rows(artifact(built), "SELECT * FROM contigs") == [("chr1", 10, 0.5, 0.2), ("chr2", 4, 1.0, 0.0)]
    assert rows(artifact(built), "SELECT * FROM gene_summary_rtree") == [(1, 1.0, 8.0), (2, 2.0, 4.0)]
    assert rows(artifact(built), "SELECT * FROM dataset_stats") == [
        ("biotype", "lncRNA", 1),
        ("biotype", "protein_coding", 1),
        ("seqid", "chr1", 1),
        ("seqid", "chr2", 1),
    ]


def test_the_artifact_has_the_twelve_indexes_and_says_it_is_analysed(built: BuiltRoot) -> None:
    query = "SELECT name FROM sqlite_master WHERE type='index' AND name LIKE 'idx_%' ORDER BY name"
    assert [name for (name,) in rows(artifact(built), query)] == [
        "idx_gene_summary_biotype",
        "idx_gene_summary_cover_lookup",
        "idx_gene_summary_cover_region",
        "idx_gene_summary_gene_id",
        "idx_gene_summary_name",
        "idx_gene_summary_name_normalized",
        "idx_gene_summary_region",
        "idx_transcript_summary_biotype",
        "idx_transcript_summary_parent_gene_id",
        "idx_transcript_summary_region",
        "idx_transcript_summary_transcript_id",
        "idx_transcript_summary_type",
    ]
    meta = dict(rows(artifact(built), "SELECT k, v FROM atlas_meta"))
    assert (meta["schema_version"], meta["analyze_completed"], meta["vacuum_completed"]) == (
        "4",
        "true",
        "true",
    )
    assert meta["dataset_id"] == "110/homo_sapiens/GRCh38"
    assert rows(artifact(built), "PRAGMA user_version") == [(4,)]
    assert rows(artifact(built), "SELECT version FROM schema_version") == [(4,)]
    assert rows(artifact(built), "PRAGMA integrity_check") == [("ok",)]


def test_region_queries_use_an_index(built: BuiltRoot) -> None:
    plan = rows(
        artifact(built),
        "EXPLAIN QUERY PLAN SELECT gene_id FROM gene_summary WHERE seqid='chr1' AND start<9 AND end>1",
    )
    assert "idx_gene_summary_" in str(plan)


def test_the_header_says_wal_and_no_side_file_is_left(built: BuiltRoot) -> None:
    assert artifact(built).read_bytes()[18:20] == b"\2\2"
    assert not list(built.directory.rglob("*-wal")) + list(built.directory.rglob("*-shm"))


def test_the_manifest_keeps_every_rule_and_its_own_hashes(built: BuiltRoot) -> None:
    data = (built.directory / contents.MANIFEST).read_bytes()
    manifest = parse_manifest(data)
    check_rules(manifest)
    assert encode_manifest(manifest) == data
    assert built.manifest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert manifest.id == ID
    assert (manifest.stats.gene_count, manifest.stats.transcript_count, manifest.stats.contig_count) == (
        2,
        2,
        2,
    )
    assert manifest.artifact_hash == artifact_hash(manifest)
    assert manifest.contig_naming_style == "chr_prefixed"
    for name, path in (
        ("sqlite_sha256", contents.ARTIFACT),
        ("gff3_sha256", "inputs/genes.gff3.bgz"),
        ("fasta_sha256", "inputs/genome.fa.bgz"),
        ("fai_sha256", "inputs/genome.fa.bgz.fai"),
    ):
        file = (built.directory / path).read_bytes()
        assert getattr(manifest.checksums, name) == hashlib.sha256(file).hexdigest()


def test_the_row_signature_is_the_one_computed_by_hand(built: BuiltRoot) -> None:
    def leaf(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    g1 = leaf(
        '{"biotype":"protein_coding","cds_present":true,"end":8,"exon_count":2,"gene_id":"g1",'
        '"gene_name":"ABC","seqid":"chr1","sequence_length":8,"start":1,"total_exon_span":6,'
        '"transcript_count":2}'
    )
    g2 = leaf(
        '{"biotype":"lncRNA","cds_present":false,"end":4,"exon_count":0,"gene_id":"g2","gene_name":"D E",'
        '"seqid":"chr2","sequence_length":3,"start":2,"total_exon_span":0,"transcript_count":0}'
    )
    t1 = leaf(
        '{"biotype":"protein_coding","cds_present":true,"cds_span_length":6,"end":8,"exon_count":2,'
        '"parent_gene_id":"g1","seqid":"chr1","sequence_length":8,"spliced_length":6,"start":1,'
        '"total_exon_span":6,"transcript_id":"t1","transcript_type":"mRNA"}'
    )
    t2 = leaf(
        '{"biotype":null,"cds_present":false,"cds_span_length":null,"end":3,"exon_count":1,'
        '"parent_gene_id":"g1","seqid":"chr1","sequence_length":3,"spliced_length":3,"start":1,'
        '"total_exon_span":3,"transcript_id":"t2","transcript_type":"transcript"}'
    )
    signature = leaf(
        f'{{"gene_count":2,"gene_table_hash":"{leaf(g1 + g2)}","transcript_count":2,'
        f'"transcript_table_hash":"{leaf(t1 + t2)}"}}'
    )
    assert document(built, "manifest")["dataset_signature_sha256"] == signature


def test_inventory_and_bundle_name_the_bytes_on_disk(built: BuiltRoot) -> None:
    items = document(built, "artifact_inventory")["items"]
    assert len(items) == 14
    assert [item["path"] for item in items] == sorted(item["path"] for item in items)
    for item in items:
        data = (built.directory / item["path"]).read_bytes()
        assert (item["sha256"], item["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    bundle = document(built, "evidence_bundle.lock")
    assert len(bundle["files"]) == 8
    for path, sha256 in bundle["files"].items():
        assert sha256 == hashlib.sha256((built.directory / path).read_bytes()).hexdigest()
    assert document(built, "manifest")["evidence_bundle_sha256"] == bundle["bundle_sha256"]


def test_the_gene_index_lists_every_gene(built: BuiltRoot) -> None:
    index = document(built, "release_gene_index")
    assert [(e["gene_id"], e["seqid"], e["start"], e["end"]) for e in index["entries"]] == [
        ("g1", "chr1", 1, 8),
        ("g2", "chr2", 2, 4),
    ]


def test_quality_reports_are_equal_and_count_everything(built: BuiltRoot) -> None:
    assert document(built, "qc") == document(built, "qc_report")
    assert document(built, "qc")["counts"] == {"genes": 2, "transcripts": 2, "exons": 3, "cds": 1}
    assert document(built, "qc")["contig_stats"]["total_features"] == 7
    assert document(built, "qc")["rejected_record_count_by_reason"] == {}


def test_a_second_build_of_equal_input_gives_equal_documents(built: BuiltRoot, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    again = build(tmp_path / "again", GFF3)
    for name in ("qc", "canonical_features", "canonical_summary", "release_gene_index", "anomaly_report"):
        assert document(again, name) == document(built, name)
    assert rows(artifact(again), "SELECT * FROM atlas_meta") == rows(
        artifact(built), "SELECT * FROM atlas_meta"
    )


def test_shards_hold_the_rows_of_their_contig_only(tmp_path: Path) -> None:
    built = build(tmp_path, GFF3, Sharding.CONTIG)
    catalog = document(built, "catalog_shards")
    assert (catalog["mode"], document(built, "manifest")["sharding_plan"]) == ("contig", "contig")
    assert [(shard["shard_id"], shard["seqids"], shard["sqlite_path"]) for shard in catalog["shards"]] == [
        ("chr1", ["chr1"], "gene_summary.chr1.sqlite"),
        ("chr2", ["chr2"], "gene_summary.chr2.sqlite"),
    ]
    for shard, genes in zip(catalog["shards"], (["g1"], ["g2"]), strict=True):
        path = built.directory / "derived" / shard["sqlite_path"]
        assert shard["sqlite_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert [gene for (gene,) in rows(path, "SELECT gene_id FROM gene_summary")] == genes
        assert (
            rows(path, "SELECT count(*) FROM exons") == rows(path, "SELECT count(*) FROM contigs") == [(0,)]
        )


def test_building_over_a_dataset_is_refused(built: BuiltRoot, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        build(tmp_path, GFF3)
    assert caught.value.code == "E_SAMPLE_EXISTS"
    assert built.dataset == ID


def test_an_annotation_without_a_usable_gene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        build(tmp_path, "##gff-version 3\nchr9\t.\tgene\t1\t2\t.\t+\t.\tID=g\n")
    assert caught.value.code == "E_SAMPLE_EMPTY"


def test_an_orphan_transcript_is_counted_and_left_out() -> None:
    read = annotation("chr1\t.\tmRNA\t1\t2\t.\t+\t.\tID=t;Parent=gone\n")
    assert (read.transcripts, read.anomalies.orphan_transcripts) == ((), ("t",))
    assert read.anomalies.missing_parents == ("gone",)


def test_a_parent_cycle_rejects_everything_in_it() -> None:
    read = annotation(
        "chr1\t.\tgene\t1\t9\t.\t+\t.\tID=g;Parent=t\nchr1\t.\tmRNA\t1\t9\t.\t+\t.\tID=t;Parent=g\n"
        "chr1\t.\tgene\t1\t9\t.\t+\t.\tID=other\n"
    )
    assert [gene.gene_id for gene in read.genes] == ["other"]
    assert read.anomalies.parent_cycles == ("g", "t")
    assert read.anomalies.rejected == {"parent_cycle": 2}


def test_a_duplicate_gene_id_keeps_the_first_and_is_counted() -> None:
    read = annotation(
        "chr1\t.\tgene\t1\t9\t.\t+\t.\tID=g;Name=A\nchr2\t.\tgene\t1\t4\t.\t+\t.\tID=g;Name=B\n"
    )
    assert [gene.name for gene in read.genes] == ["A"]
    assert read.anomalies.duplicate_gene_ids == ("g",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("chr9\t.\tgene\t1\t2\t.\t+\t.\tID=g", "unknown_contig"),
        ("chr1\t.\tgene\t1\t11\t.\t+\t.\tID=g", "outside_contig"),
        ("chr1\t.\tgene\t0\t2\t.\t+\t.\tID=g", "outside_contig"),
        ("chr1\t.\tgene\t5\t2\t.\t+\t.\tID=g", "outside_contig"),
        ("chr1\t.\tgene\tx\t2\t.\t+\t.\tID=g", "malformed_record"),
        ("chr1\t.\tgene\t1\t2", "malformed_record"),
        ("chr1\t.\tgene\t1\t2\t.\t+\t.\tName=g", "missing_id"),
    ],
)
def test_a_record_that_cannot_be_used_is_rejected_by_reason(line: str, reason: str) -> None:
    assert annotation(line).anomalies.rejected == {reason: 1}


def test_a_computed_index_has_samtools_five_columns() -> None:
    _, index = read_fasta(FASTA, None)
    assert index == "chr1\t10\t12\t8\t9\nchr2\t4\t30\t4\t5\n"


def test_a_given_index_is_believed_for_lengths() -> None:
    contigs, index = read_fasta(FASTA, "chr1\t12\t12\t8\t9\nchr2\t4\t30\t4\t5\n")
    assert [contig.length for contig in contigs] == [12, 4]
    assert index.startswith("chr1\t12")


@pytest.mark.parametrize(
    ("fasta", "fai"), [("", None), (">\nA\n", None), (">a\nA\n>a\nC\n", None), (">a\nA\n", "b\t1\t3\t1\t2\n")]
)
def test_a_sequence_that_cannot_be_used_is_refused(fasta: str, fai: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_fasta(fasta, fai)
    assert caught.value.code == "E_SAMPLE_FASTA"


def test_a_minimal_dataset_has_its_own_id_in_small_files(tmp_path: Path) -> None:
    digest = minimal_dataset(tmp_path, ID)
    directory = tmp_path / contents.dataset_path(ID)
    data = (directory / contents.MANIFEST).read_bytes()
    manifest = parse_manifest(data)
    check_rules(manifest)
    database = directory / contents.ARTIFACT
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert manifest.artifact_hash == artifact_hash(manifest)
    assert rows(database, "SELECT v FROM atlas_meta WHERE k='dataset_id'") == [(str(ID),)]
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    assert rows(database, "SELECT count(*) FROM gene_summary") == [(1,)]
    assert database.stat().st_size <= 20_480


def test_minimal_datasets_of_two_seeds_differ(tmp_path: Path) -> None:
    assert minimal_dataset(tmp_path / "a", ID, seed=1) != minimal_dataset(tmp_path / "b", ID, seed=2)


def test_minimal_datasets_of_equal_arguments_are_equal(tmp_path: Path) -> None:
    assert minimal_dataset(tmp_path / "a", ID, genes=3) == minimal_dataset(tmp_path / "b", ID, genes=3)


def test_a_minimal_published_dataset_is_what_the_references_publish_leaves(tmp_path: Path) -> None:
    minimal_dataset(tmp_path, ID, stage=Stage.PUBLISHED)
    derived = tmp_path / contents.dataset_path(ID) / "derived"
    assert sorted(path.name for path in derived.iterdir()) == [
        "gene_summary.sqlite",
        "immutable.release.json",
        "lifecycle.state.json",
        "lifecycle.transitions.json",
        "manifest.json",
        "manifest.lock",
    ]
    lock = parse_lock((derived / "manifest.lock").read_bytes())
    assert lock.manifest_sha256 == hashlib.sha256((derived / "manifest.json").read_bytes()).hexdigest()
    assert lock.sqlite_sha256 == hashlib.sha256((derived / "gene_summary.sqlite").read_bytes()).hexdigest()
    assert parse_immutable((derived / "immutable.release.json").read_bytes()) == (ID, lock)
    assert parse_state((derived / "lifecycle.state.json").read_bytes()).dataset == ID
    assert [
        t.published for t in parse_transitions((derived / "lifecycle.transitions.json").read_bytes())
    ] == [lock]


def test_a_minimal_published_dataset_may_be_promoted(tmp_path: Path) -> None:
    minimal_dataset(tmp_path, ID, genes=2, stage=Stage.PUBLISHED)
    with opened(tmp_path / contents.dataset_path(ID)) as handle:
        assert check_promotable(handle, ID) == ()


def test_a_minimal_build_passes_every_publish_gate(tmp_path: Path) -> None:
    minimal_dataset(tmp_path, ID)
    with opened(tmp_path / contents.dataset_path(ID)) as handle:
        assert check_gates(handle, ID) == ()


@pytest.mark.parametrize("sharding", Sharding)
def test_a_build_root_verifies_deeply_and_lacks_only_the_stores_lock(
    tmp_path: Path, sharding: Sharding
) -> None:
    with opened(build(tmp_path, GFF3, sharding).directory) as handle:
        report = verify_dataset(handle, ID, deep=True, store=False)
        assert check_gates(handle, ID) == ()
    assert [check.name for check in report.checks if check.status is not Status.PASSED] == ["lock"]
    assert "ingest" in next(check.detail for check in report.checks if check.name == "signature")


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def test_the_command_builds_a_root_and_prints_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "genes.gff3").write_text(GFF3, encoding="utf-8")
    (tmp_path / "genome.fa").write_text(FASTA, encoding="utf-8")
    arguments = [str(tmp_path / "out"), "--dataset", str(ID)]
    arguments += ["--gff3", str(tmp_path / "genes.gff3"), "--fasta", str(tmp_path / "genome.fa")]
    assert main(arguments) == 0
    manifest = tmp_path / "out" / contents.dataset_path(ID) / contents.MANIFEST
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"{ID} sha256:{digest} {manifest.parent.parent}\n"
    assert main(arguments) == 3
    assert capsys.readouterr().err.startswith("E_SAMPLE_EXISTS ")
