"""The gates that a dataset must pass to be published, with thresholds as data (contract 3.7, 4.4).

Decides whether the quality that a build reports about itself is good enough: gene count, missing parents,
scientific prerequisites, contig naming, indexes, and the five QC thresholds. Every gate that fails is
reported; no flag skips one. What is not reported (a missing or unreadable document) fails its gate.

Thresholds come from the protected base, under `ops/datasets/`, never from the working directory; the
reference's own values are the defaults. Reads files, writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from reconciler.canonical import parse_strict
from reconciler.errors import Denied, InvalidInput, Problem, ReconcilerError
from reconciler.model import DatasetId
from reconciler.stores.serving.artifact_db import UnreadableDatabase, database, database_facts
from reconciler.stores.serving.contents import ARTIFACT, MANIFEST, dataset_path
from reconciler.stores.serving.documents import convert
from reconciler.stores.serving.files import DatasetFiles, opened
from reconciler.stores.serving.manifest import Manifest, parse_manifest

QC_THRESHOLDS = "ops/datasets/qc-thresholds.json"
PUBLISH_GATES = "ops/datasets/publish-gates.json"

QC_REPORT = "derived/qc.json"
ANOMALIES = "derived/anomaly_report.json"

Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class QcThresholds:
    """The five limits on a build's QC report; the defaults are the reference's (contract 4.4)."""

    min_gene_count: int = 1
    max_orphan_percent: float = 2.0
    max_rejected_percent: float = 2.0
    max_unknown_contig_feature_percent: float = 0.1
    max_duplicate_gene_id_events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Everything that the publish gates compare with; the defaults are the reference's (contract 3.7)."""

    min_gene_count: int = 1
    max_missing_parents: int = 1000
    required_indexes: tuple[str, ...] = (
        "idx_gene_summary_gene_id",
        "idx_gene_summary_region",
        "idx_transcript_summary_transcript_id",
        "idx_transcript_summary_region",
    )
    qc: QcThresholds = QcThresholds()


DEFAULTS = Thresholds()


class _QcMembers(Struct, frozen=True, forbid_unknown_fields=True):
    min_gene_count: Count
    max_orphan_percent: Percent
    max_rejected_percent: Percent
    max_unknown_contig_feature_percent: Percent
    max_duplicate_gene_id_events: Count
    schema_version: Literal[1] = 1
    cache_budget_bytes: Count = 0


class _GateMembers(Struct, frozen=True, forbid_unknown_fields=True):
    min_gene_count: Count
    max_missing_parents: Count
    required_indexes: tuple[str, ...] = DEFAULTS.required_indexes


class _GateFile(Struct, frozen=True, forbid_unknown_fields=True):
    publish_gates: _GateMembers
    schema_version: Literal[1] = 1


def thresholds_from(governance: Mapping[str, bytes]) -> Thresholds:
    """The thresholds that the protected base states; a file that is not there leaves the defaults.

    Args:
        governance: bytes of the policy files by path.

    Raises:
        Denied: E_POLICY_EMPTY, a file is there but empty.
        InvalidInput: a code of `documents.decode`.
    """
    qc, gates = DEFAULTS.qc, _GateMembers(DEFAULTS.min_gene_count, DEFAULTS.max_missing_parents)
    if QC_THRESHOLDS in governance:
        limits = convert(policy_document(governance, QC_THRESHOLDS), _QcMembers, where=QC_THRESHOLDS)
        qc = QcThresholds(
            min_gene_count=limits.min_gene_count,
            max_orphan_percent=limits.max_orphan_percent,
            max_rejected_percent=limits.max_rejected_percent,
            max_unknown_contig_feature_percent=limits.max_unknown_contig_feature_percent,
            max_duplicate_gene_id_events=limits.max_duplicate_gene_id_events,
        )
    if PUBLISH_GATES in governance:
        gates = convert(
            policy_document(governance, PUBLISH_GATES), _GateFile, where=PUBLISH_GATES
        ).publish_gates
    return Thresholds(
        min_gene_count=gates.min_gene_count,
        max_missing_parents=gates.max_missing_parents,
        required_indexes=gates.required_indexes,
        qc=qc,
    )


def policy_document(governance: Mapping[str, bytes], path: str) -> object:
    """One policy file as JSON.

    Raises:
        Denied: E_POLICY_EMPTY, it is there but empty.
        InvalidInput: a code of `canonical.parse_strict`.
    """
    data = governance[path]
    if not data.strip():
        raise Denied.of(
            "E_POLICY_EMPTY", "a policy file is there but empty", path=path, fix="fill it in or remove it"
        )
    return parse_strict(data, where=path)


class _Genes(Struct, frozen=True):
    genes: Count
    transcripts: Count


class _Orphans(Struct, frozen=True):
    transcripts: Count


class _Duplicates(Struct, frozen=True):
    duplicate_gene_ids: Count


class _Contigs(Struct, frozen=True):
    unknown_contig_feature_ratio: Percent
    total_features: Count


class _QcReport(Struct, frozen=True):
    counts: _Genes
    orphan_counts: _Orphans
    duplicate_id_events: _Duplicates
    contig_stats: _Contigs
    rejected_record_count_by_reason: dict[str, Count]


class _Anomalies(Struct, frozen=True):
    missing_parents: tuple[object, ...]
    scientific_ambiguities: tuple[object, ...]


def check_gates(dirfd: int, dataset: DatasetId, thresholds: Thresholds = DEFAULTS) -> tuple[Problem, ...]:
    """Every publish gate that a dataset fails, as E_GATE (contract 3.7 step 3).

    Args:
        dirfd: an open descriptor of the dataset's directory.
        dataset: the dataset, which errors name.
        thresholds: what to compare with.

    Raises:
        Unavailable: a file cannot be read.
    """
    files = DatasetFiles(dirfd, dataset_path(dataset))
    return (*_manifest_gates(files, thresholds), *evidence_gates(files, thresholds))


def evidence_gates(files: DatasetFiles, thresholds: Thresholds) -> tuple[Problem, ...]:
    """The gates on reports and database: anomalies, indexes, QC."""
    return (
        *_anomaly_gates(files, thresholds),
        *_index_gate(files, thresholds),
        *qc_gates(files, thresholds.qc),
    )


def _gate(path: str, message: str, got: str | None = None) -> Problem:
    return Problem(
        code="E_GATE", message=message, path=path, got=got, fix="rebuild the dataset from better input"
    )


def _unreadable(error: ReconcilerError) -> tuple[Problem, ...]:
    return tuple(
        _gate(problem.path, f"the report cannot be judged: {problem.message}") for problem in error.problems
    )


def _manifest_gates(files: DatasetFiles, thresholds: Thresholds) -> tuple[Problem, ...]:
    path, data = files.path(MANIFEST), files.read(MANIFEST)
    if data is None:
        return (_gate(path, "the manifest is missing"),)
    try:
        return tuple(manifest_gates(parse_manifest(data, path), thresholds, path))
    except InvalidInput as error:
        return _unreadable(error)


def manifest_gates(manifest: Manifest, thresholds: Thresholds, path: str) -> Iterator[Problem]:
    """The gates on the manifest: gene count, scientific prerequisites, contig naming."""
    genes = manifest.stats.gene_count
    if genes < thresholds.min_gene_count:
        yield _gate(path, f"the dataset has fewer genes than {thresholds.min_gene_count}", str(genes))
    if manifest.scientific_prerequisites_status != "complete":
        yield _gate(
            path, "scientific_prerequisites_status is not complete", manifest.scientific_prerequisites_status
        )
    if manifest.contig_naming_style == "mixed_chr_and_plain":
        yield _gate(path, "contigs are named with and without chr", manifest.contig_naming_style)


def _anomaly_gates(files: DatasetFiles, thresholds: Thresholds) -> tuple[Problem, ...]:
    path, data = files.path(ANOMALIES), files.read(ANOMALIES)
    if data is None:
        return (_gate(path, "the anomaly report is missing"),)
    try:
        anomalies = convert(parse_strict(data, where=path), _Anomalies, where=path)
    except InvalidInput as error:
        return _unreadable(error)
    problems = []
    missing, ambiguous = len(anomalies.missing_parents), len(anomalies.scientific_ambiguities)
    if missing > thresholds.max_missing_parents:
        problems.append(
            _gate(path, f"more than {thresholds.max_missing_parents} parents are missing", str(missing))
        )
    if ambiguous:
        problems.append(_gate(path, "scientific ambiguities are not resolved", str(ambiguous)))
    return tuple(problems)


def _index_gate(files: DatasetFiles, thresholds: Thresholds) -> tuple[Problem, ...]:
    path = files.path(ARTIFACT)
    with opened(files.dirfd, ARTIFACT, files.where) as handle:
        if handle is None:
            return (_gate(path, "the database is missing"),)
        try:
            with database(handle, path) as connection:
                names = database_facts(connection).names
        except UnreadableDatabase as error:
            return (
                _gate(path, f"the database cannot be judged: {error.problem.message}", error.problem.got),
            )
    missing = [name for name in thresholds.required_indexes if ("index", name) not in names]
    return (_gate(path, f"indexes are missing: {', '.join(missing)}"),) if missing else ()


def qc_gates(files: DatasetFiles, limits: QcThresholds) -> tuple[Problem, ...]:
    """The five QC thresholds on `derived/qc.json`; a value equal to its limit passes (contract 4.4).

    Raises:
        Unavailable: the report cannot be read.
    """
    path, data = files.path(QC_REPORT), files.read(QC_REPORT)
    if data is None:
        return (_gate(path, "the QC report is missing"),)
    try:
        report = convert(parse_strict(data, where=path), _QcReport, where=path)
    except InvalidInput as error:
        return _unreadable(error)
    return tuple(_gate(path, message, got) for message, got in _exceeded(report, limits))


def _exceeded(report: _QcReport, limits: QcThresholds) -> Iterator[tuple[str, str]]:
    genes, transcripts = report.counts.genes, report.counts.transcripts
    if genes < limits.min_gene_count:
        yield f"QC counts fewer genes than {limits.min_gene_count}", str(genes)
    orphans = _percent(report.orphan_counts.transcripts, transcripts)
    if orphans > limits.max_orphan_percent:
        yield f"more than {limits.max_orphan_percent} % of the transcripts are orphans", f"{orphans:.3f} %"
    rejected = _percent(
        sum(report.rejected_record_count_by_reason.values()), report.contig_stats.total_features
    )
    if rejected > limits.max_rejected_percent:
        yield f"more than {limits.max_rejected_percent} % of the records were rejected", f"{rejected:.3f} %"
    unknown = report.contig_stats.unknown_contig_feature_ratio * 100
    if unknown > limits.max_unknown_contig_feature_percent:
        limit = limits.max_unknown_contig_feature_percent
        yield f"more than {limit} % of the features are on unknown contigs", f"{unknown:.3f} %"
    duplicates = report.duplicate_id_events.duplicate_gene_ids
    if duplicates > limits.max_duplicate_gene_id_events:
        yield f"more than {limits.max_duplicate_gene_id_events} gene ids are duplicated", str(duplicates)


def _percent(part: int, whole: int) -> float:
    """A share in percent; of nothing it is zero, as in the reference."""
    return part * 100 / whole if whole else 0.0
