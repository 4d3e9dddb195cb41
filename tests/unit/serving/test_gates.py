"""Publish gates: each one fails alone, thresholds are data, the reference's values are the defaults."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.canonical import canonical
from reconciler.errors import Denied, InvalidInput
from reconciler.stores.serving.gates import (
    DEFAULTS,
    PUBLISH_GATES,
    QC_THRESHOLDS,
    QcThresholds,
    Thresholds,
    check_gates,
    thresholds_from,
)
from tests.unit.serving.examples import HUMAN, changed, codes, descriptor

MANIFEST = "derived/manifest.json"
ANOMALIES = "derived/anomaly_report.json"
QC = "derived/qc.json"


def messages(directory: Path, thresholds: Thresholds = DEFAULTS) -> list[str]:
    """What the gates say of a dataset."""
    with descriptor(directory) as root:
        found = check_gates(root, HUMAN, thresholds)
    assert codes(found) == ["E_GATE"] * len(found)
    return [problem.message for problem in found]


def alter(directory: Path, relpath: str, path: str, value: object) -> None:
    """Set one member of a document on disk."""
    document = json.loads((directory / relpath).read_bytes())
    (directory / relpath).write_bytes(canonical(changed(document, path, value)))


def test_a_complete_build_root_passes_every_gate(built: Path) -> None:
    assert messages(built) == []


@pytest.mark.parametrize(
    ("relpath", "path", "value", "message"),
    [
        (MANIFEST, "stats.gene_count", 0, "the dataset has fewer genes than 1"),
        (
            MANIFEST,
            "scientific_prerequisites_status",
            "insufficient",
            "scientific_prerequisites_status is not complete",
        ),
        (MANIFEST, "contig_naming_style", "mixed_chr_and_plain", "contigs are named with and without chr"),
        (ANOMALIES, "missing_parents", ["x"] * 1001, "more than 1000 parents are missing"),
        (ANOMALIES, "scientific_ambiguities", ["x"], "scientific ambiguities are not resolved"),
        (QC, "counts.genes", 0, "QC counts fewer genes than 1"),
        (QC, "orphan_counts.transcripts", 1, "more than 2.0 % of the transcripts are orphans"),
        (QC, "rejected_record_count_by_reason", {"x": 1}, "more than 2.0 % of the records were rejected"),
        (
            QC,
            "contig_stats.unknown_contig_feature_ratio",
            0.5,
            "more than 0.1 % of the features are on unknown contigs",
        ),
        (QC, "duplicate_id_events.duplicate_gene_ids", 1, "more than 0 gene ids are duplicated"),
    ],
)
def test_each_gate_fails_alone(built: Path, relpath: str, path: str, value: object, message: str) -> None:
    alter(built, relpath, path, value)
    assert messages(built) == [message]


@pytest.mark.parametrize(
    ("relpath", "path", "value"),
    [
        (ANOMALIES, "missing_parents", ["x"] * 1000),
        (QC, "orphan_counts.transcripts", 2),
        (QC, "rejected_record_count_by_reason", {"a": 1, "b": 1}),
        (QC, "contig_stats.unknown_contig_feature_ratio", 0.001),
    ],
)
def test_a_value_equal_to_its_limit_passes(built: Path, relpath: str, path: str, value: object) -> None:
    alter(built, QC, "counts.transcripts", 100)
    alter(built, QC, "contig_stats.total_features", 100)
    alter(built, relpath, path, value)
    assert messages(built) == []


def test_no_transcripts_and_no_features_are_no_share(built: Path) -> None:
    alter(built, QC, "counts.transcripts", 0)
    alter(built, QC, "contig_stats.total_features", 0)
    assert messages(built) == []


def test_every_failure_is_reported_together(built: Path) -> None:
    alter(built, MANIFEST, "contig_naming_style", "mixed_chr_and_plain")
    alter(built, ANOMALIES, "scientific_ambiguities", ["x"])
    alter(built, QC, "counts.genes", 0)
    assert len(messages(built)) == 3


@pytest.mark.parametrize(
    ("relpath", "message"),
    [
        (MANIFEST, "the manifest is missing"),
        (ANOMALIES, "the anomaly report is missing"),
        ("derived/gene_summary.sqlite", "the database is missing"),
        (QC, "the QC report is missing"),
    ],
)
def test_what_is_not_reported_does_not_pass(built: Path, relpath: str, message: str) -> None:
    (built / relpath).unlink()
    assert messages(built) == [message]


@pytest.mark.parametrize(
    ("relpath", "data", "message"),
    [
        (QC, b"{", "the report cannot be judged: not JSON: "),
        (QC, b"{}", "the report cannot be judged: the member counts is missing"),
        (
            ANOMALIES,
            b'{"missing_parents":[]}',
            "the report cannot be judged: the member scientific_ambiguities",
        ),
        (ANOMALIES, b'{"missing_parents":0}', "the report cannot be judged: a member has the wrong type"),
        ("derived/gene_summary.sqlite", b"x", "the database cannot be judged: this is not a SQLite database"),
    ],
)
def test_what_cannot_be_read_does_not_pass(built: Path, relpath: str, data: bytes, message: str) -> None:
    (built / relpath).write_bytes(data)
    found = messages(built)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_missing_index_fails_its_gate(built: Path) -> None:
    with closing(sqlite3.connect(built / "derived" / "gene_summary.sqlite")) as connection:
        connection.execute("DROP INDEX idx_gene_summary_region")
    assert messages(built) == ["indexes are missing: idx_gene_summary_region"]


def test_without_policy_files_the_reference_decides() -> None:
    assert thresholds_from({}) == DEFAULTS
    assert (DEFAULTS.min_gene_count, DEFAULTS.max_missing_parents) == (1, 1000)
    assert DEFAULTS.qc == QcThresholds(
        min_gene_count=1,
        max_orphan_percent=2.0,
        max_rejected_percent=2.0,
        max_unknown_contig_feature_percent=0.1,
        max_duplicate_gene_id_events=0,
    )


QC_FILE = {
    "schema_version": 1,
    "min_gene_count": 3,
    "max_orphan_percent": 30,
    "max_rejected_percent": 0.5,
    "max_unknown_contig_feature_percent": 1.5,
    "max_duplicate_gene_id_events": 4,
    "cache_budget_bytes": 8589934592,
}


def test_policy_files_state_the_thresholds(built: Path) -> None:
    thresholds = thresholds_from(
        {
            QC_THRESHOLDS: json.dumps(QC_FILE).encode(),
            PUBLISH_GATES: b'{"publish_gates":{"min_gene_count":5,"max_missing_parents":7}}',
        }
    )
    assert (thresholds.min_gene_count, thresholds.max_missing_parents) == (5, 7)
    assert thresholds.qc == QcThresholds(
        min_gene_count=3,
        max_orphan_percent=30.0,
        max_rejected_percent=0.5,
        max_unknown_contig_feature_percent=1.5,
        max_duplicate_gene_id_events=4,
    )
    assert messages(built, thresholds) == [
        "the dataset has fewer genes than 5",
        "QC counts fewer genes than 3",
    ]


@pytest.mark.parametrize("name", sorted(QC_FILE.keys() - {"schema_version", "cache_budget_bytes"}))
def test_every_threshold_must_be_stated(name: str) -> None:
    data = json.dumps({key: value for key, value in QC_FILE.items() if key != name}).encode()
    with pytest.raises(InvalidInput) as refused:
        thresholds_from({QC_THRESHOLDS: data})
    assert (refused.value.code, refused.value.problems[0].path) == ("E_REQUIRED", QC_THRESHOLDS)


@pytest.mark.parametrize("path", [QC_THRESHOLDS, PUBLISH_GATES])
def test_an_empty_policy_file_denies(path: str) -> None:
    with pytest.raises(Denied) as denied:
        thresholds_from({path: b" \n"})
    assert denied.value.code == "E_POLICY_EMPTY"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b'{"min_gene_cuont":1}', "E_UNKNOWN_FIELD"), (b"{", "E_JSON_SYNTAX"), (b'{"a":1,"a":1}', "E_JSON_DUP")],
)
def test_a_policy_file_is_read_strictly(data: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        thresholds_from({QC_THRESHOLDS: data})
    assert refused.value.code == code
