"""The JSON documents of a sample build root: reports, features, inventory, evidence bundle, manifest.

Decides their members from the rows and the reader's anomalies (the serving store's contract 2.4, 2.7, 2.8,
4.3, 4.4). All are canonical JSON without floats that other readers could spell differently.

The hashes here are derived from the rows, not read back from the database, so that the verification in
`reconciler.stores.serving` is checked against something that is not itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from reconciler.canonical import canonical, sha256_hex
from reconciler.model import DatasetId
from reconciler.stores.serving.manifest import (
    Checksums,
    artifact_hash,
    encode_manifest,
    evidence_bundle_sha256,
    identity,
    parse_manifest,
)
from reconciler.testing.gff3 import Annotation
from reconciler.testing.sample_database import GeneRow, Rows, TranscriptRow

Document = dict[str, Any]

BUNDLED = (
    "anomaly_report",
    "anomaly_summary",
    "qc_report",
    "source_facts",
    "build_metadata",
    "dataset_stats",
    "scientific_profile",
    "artifact_inventory",
)
_ORIGINS = {
    "cds_present": "CDS records of the gene's or transcript's parts",
    "exon_count": "distinct exon spans",
    "name_normalized": "name, lower-cased",
    "sequence_length": "end - start + 1",
    "spliced_length": "sum of exon lengths",
    "total_exon_span": "sum of distinct exon spans",
    "transcript_count": "transcripts whose Parent is the gene",
    "cds_length": "sum of CDS lengths",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The bare sha256 of the four files that a manifest names."""

    gff3: str
    fasta: str
    fai: str
    sqlite: str

    @property
    def inputs(self) -> Document:
        """The three inputs under the manifest's member names."""
        return {"gff3_sha256": self.gff3, "fasta_sha256": self.fasta, "fai_sha256": self.fai}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything that the documents of one dataset are made from."""

    dataset: DatasetId
    software_version: str
    annotation: Annotation
    rows: Rows
    checksums: Sums
    sharding: str

    @property
    def id_object(self) -> Document:
        """The dataset as documents spell it."""
        return dict(self.dataset._asdict())

    @property
    def normalized_inputs(self) -> str:
        """What the inputs were, whatever their paths."""
        names = {"gff3": "genes.gff3.bgz", "fasta": "genome.fa.bgz", "fai": "genome.fa.bgz.fai"}
        return _hash({**self.checksums.inputs, "source_filenames": names, "contig_normalization_aliases": {}})


def _hash(document: object) -> str:
    return sha256_hex(canonical(document))


def quality_report(annotation: Annotation) -> Document:
    """`qc.json` and `qc_report.json`: the counts that the publish gates read (contract 4.4).

    Orphans count as transcripts here, or a file of orphans alone would pass the gate as 0 of 0.
    """
    anomalies = annotation.anomalies
    ratio = annotation.unknown_contig_features / max(annotation.feature_count, 1)
    return {
        "schema_version": 1,
        "counts": {
            "genes": len(annotation.genes),
            "transcripts": len(annotation.transcripts) + len(anomalies.orphan_transcripts),
            "exons": len(annotation.exons),
            "cds": len(annotation.cds),
        },
        "orphan_counts": {"transcripts": len(anomalies.orphan_transcripts)},
        "duplicate_id_events": {"duplicate_gene_ids": len(anomalies.duplicate_gene_ids)},
        "contig_stats": {
            "total_features": annotation.feature_count,
            "unknown_contig_features": annotation.unknown_contig_features,
            "unknown_contig_feature_ratio": round(ratio, 6) or 0,
        },
        "rejected_record_count_by_reason": dict(anomalies.rejected),
    }


def anomaly_report(annotation: Annotation) -> Document:
    """`anomaly_report.json`: the names behind the counts."""
    anomalies = annotation.anomalies
    return {
        "missing_parents": anomalies.missing_parents,
        "parent_cycles": anomalies.parent_cycles,
        "duplicate_gene_ids": anomalies.duplicate_gene_ids,
        "unknown_contigs": anomalies.unknown_contigs,
        "orphan_transcripts": anomalies.orphan_transcripts,
        "scientific_ambiguities": [],
    }


def naming_style(names: Iterable[str]) -> str:
    """How contigs are named, in the manifest's words."""
    kinds = {_style(name) for name in names}
    if kinds == {"chr", "plain"}:
        return "mixed_chr_and_plain"
    return {"chr": "chr_prefixed", "plain": "plain_numeric"}.get("".join(kinds), "noncanonical")


def _style(name: str) -> str:
    if name.startswith("chr"):
        return "chr"
    return "plain" if name.isdecimal() or name in {"X", "Y", "MT"} else "other"


def gene_signature(row: GeneRow) -> str:
    """The leaf of one gene in the dataset signature (contract 4.3)."""
    return _hash(
        {
            "gene_id": row.gene_id,
            "gene_name": row.name,
            "biotype": row.biotype,
            "seqid": row.seqid,
            "start": row.start,
            "end": row.end,
            "transcript_count": row.transcript_count,
            "exon_count": row.exon_count,
            "total_exon_span": row.total_exon_span,
            "cds_present": bool(row.cds_present),
            "sequence_length": row.sequence_length,
        }
    )


def _transcript_signature(row: TranscriptRow) -> str:
    return _hash(
        {
            "transcript_id": row.transcript_id,
            "parent_gene_id": row.parent_gene_id,
            "transcript_type": row.transcript_type,
            "biotype": row.biotype,
            "seqid": row.seqid,
            "start": row.start,
            "end": row.end,
            "exon_count": row.exon_count,
            "total_exon_span": row.total_exon_span,
            "cds_present": bool(row.cds_present),
            "sequence_length": row.sequence_length,
            "spliced_length": row.spliced_length,
            "cds_span_length": row.cds_length,
        }
    )


def _merkle(leaves: Sequence[str]) -> str:
    level = list(leaves)
    if not level:
        return sha256_hex(b"")
    while len(level) > 1:
        level += level[-1:] * (len(level) % 2)
        level = [sha256_hex((a + b).encode()) for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def dataset_signature(rows: Rows) -> str:
    """The row signature in the form that ingest writes: ordered by seqid, start, id (contract 4.3)."""
    genes = sorted(rows.genes, key=lambda row: (row.seqid, row.start, row.gene_id))
    transcripts = sorted(rows.transcripts, key=lambda row: (row.seqid, row.start, row.transcript_id))
    return _hash(
        {
            "gene_table_hash": _merkle([gene_signature(row) for row in genes]),
            "transcript_table_hash": _merkle([_transcript_signature(row) for row in transcripts]),
            "gene_count": len(genes),
            "transcript_count": len(transcripts),
        }
    )


def canonical_documents(sample: Sample) -> tuple[Document, Document]:
    """`canonical_features.json` and `canonical_summary.json`."""
    of_gene: dict[str, list[str]] = {}
    for row in sample.rows.transcripts:
        of_gene.setdefault(row.parent_gene_id, []).append(row.transcript_id)
    genes = [
        {
            "gene_id": row.gene_id,
            "name": row.name,
            "biotype": row.biotype,
            "seqid": row.seqid,
            "start": row.start,
            "end": row.end,
            "transcripts": sorted(of_gene.get(row.gene_id, [])),
        }
        for row in sample.rows.genes
    ]
    query = [[row.gene_id, row.name, row.biotype, row.seqid, row.start, row.end] for row in sample.rows.genes]
    features = {"schema_version": 1, "dataset": sample.id_object, "genes": genes}
    summary = {
        "schema_version": 1,
        "dataset": sample.id_object,
        "counts": feature_counts(sample),
        "query_semantic_payload": query,
        "hashes": {"query_semantic_sha256": _hash(query), "lineage_sensitive_sha256": _hash(genes)},
    }
    return features, summary


def feature_counts(sample: Sample) -> dict[str, int]:
    """How many features of each kind the dataset holds."""
    return {
        "gene": len(sample.rows.genes),
        "transcript": len(sample.rows.transcripts),
        "exon": len(sample.rows.exons),
        "cds": len(sample.annotation.cds),
    }


def gene_index(sample: Sample) -> Document:
    """`release_gene_index.json`, which the server uses to compare releases."""
    return {
        "model_version": "v1",
        "schema_version": "1",
        "dataset": sample.id_object,
        "entries": [
            {
                "gene_id": row.gene_id,
                "seqid": row.seqid,
                "start": row.start,
                "end": row.end,
                "signature_sha256": gene_signature(row),
            }
            for row in sorted(sample.rows.genes, key=lambda row: row.gene_id)
        ],
    }


def side_documents(sample: Sample) -> dict[str, Document]:
    """Every document but the inventory, the bundle and the manifest, by name without `.json`."""
    quality = quality_report(sample.annotation)
    anomalies = anomaly_report(sample.annotation)
    features, summary = canonical_documents(sample)
    head = {"schema_version": 1, "dataset": sample.id_object}
    biotypes: dict[str, int] = {}
    for row in sample.rows.genes:
        biotypes[row.biotype] = biotypes.get(row.biotype, 0) + 1
    return {
        "qc": quality,
        "qc_report": quality,
        "anomaly_report": anomalies,
        "anomaly_summary": {**head, "counts": {name: len(values) for name, values in anomalies.items()}},
        "source_facts": {
            **head,
            "checksums": sample.checksums.inputs,
            "contigs": [{"name": contig.name, "length": contig.length} for contig in sample.rows.contigs],
        },
        "build_metadata": {
            **head,
            "built_by": "reconciler.testing.samples",
            "version": sample.software_version,
        },
        "dataset_stats": {**head, "counts": feature_counts(sample), "genes_by_biotype": biotypes},
        "scientific_profile": {
            **head,
            "coordinate_system": "1-based-closed",
            "contig_naming_style": naming_style(contig.name for contig in sample.rows.contigs),
        },
        "canonical_features": features,
        "canonical_summary": summary,
        "release_gene_index": gene_index(sample),
    }


def inventory(sample: Sample, files: Mapping[str, bytes]) -> Document:
    """`artifact_inventory.json` over the given files, by path below the dataset's directory."""
    roles = {
        "inputs/genes.gff3.bgz": "gff3",
        "inputs/genome.fa.bgz": "fasta",
        "inputs/genome.fa.bgz.fai": "fai",
        "derived/gene_summary.sqlite": "sqlite",
    }
    listed = (*BUNDLED[:-1], "canonical_features", "canonical_summary", "release_gene_index")
    roles |= {f"derived/{name}.json": name for name in listed}
    return {
        "schema_version": 1,
        "dataset": sample.id_object,
        "release_id": str(sample.dataset),
        "normalized_input_identity_sha256": sample.normalized_inputs,
        "items": [
            {"role": role, "path": path, "sha256": sha256_hex(files[path]), "bytes": len(files[path])}
            for path, role in sorted(roles.items())
        ],
    }


def evidence_bundle(sample: Sample, files: Mapping[str, bytes]) -> Document:
    """`evidence_bundle.lock.json` over the eight bundled documents (contract 2.8)."""
    listed = {f"derived/{name}.json": sha256_hex(files[f"derived/{name}.json"]) for name in BUNDLED}
    return {
        "schema_version": 1,
        "dataset": sample.id_object,
        "release_id": str(sample.dataset),
        "files": listed,
        "bundle_sha256": evidence_bundle_sha256(sample.dataset, str(sample.dataset), listed),
    }


def manifest(sample: Sample, files: Mapping[str, bytes]) -> bytes:
    """`manifest.json` of a complete build root: every one of its 47 members (contract 2.4)."""
    summary = canonical_documents(sample)[1]["hashes"]
    document = smallest_manifest(
        sample.dataset,
        sample.checksums,
        stats={
            "gene_count": len(sample.rows.genes),
            "transcript_count": len(sample.rows.transcripts),
            "contig_count": len(sample.rows.contigs),
        },
        software_version=sample.software_version,
    )
    document |= {
        "dataset_signature_sha256": dataset_signature(sample.rows),
        "canonical_model_schema_version": 1,
        "canonical_query_semantic_sha256": summary["query_semantic_sha256"],
        "canonical_lineage_sha256": summary["lineage_sensitive_sha256"],
        "canonical_feature_counts": feature_counts(sample),
        "canonical_feature_summary_path": "derived/canonical_summary.json",
        "contig_naming_style": naming_style(contig.name for contig in sample.rows.contigs),
        "contig_normalization_aliases": {},
        "coordinate_system": "1-based-closed",
        "created_at": "",
        "derived_column_origins": _ORIGINS,
        "evidence_bundle_sha256": evidence_bundle(sample, files)["bundle_sha256"],
        "ingest_build_hash": "",
        "ingest_toolchain": "",
        "normalized_input_identity_sha256": sample.normalized_inputs,
        "qc_report_path": "derived/qc_report.json",
        "reference_build_identity_sha256": _hash(
            {"assembly": sample.dataset.assembly, "fasta_sha256": sample.checksums.fasta}
        ),
        "schema_evolution_note": "",
        "scientific_prerequisites_status": "complete",
        "scientific_profile_path": "derived/scientific_profile.json",
        "sharding_plan": sample.sharding,
        "source_fai_filename": "genome.fa.bgz.fai",
        "source_fasta_filename": "genome.fa.bgz",
        "source_gff3_filename": "genes.gff3.bgz",
    }
    return sealed(document)


def smallest_manifest(
    dataset: DatasetId, checksums: Sums, *, stats: Mapping[str, int], software_version: str
) -> Document:
    """The members that the 22 rules and the publish gates ask for, before `sealed` (contract 2.4)."""
    sums = Checksums(**checksums.inputs, sqlite_sha256=checksums.sqlite)
    versions = {"schema_version": "1", "manifest_version": "1", "db_schema_version": "1"}
    return {
        **versions,
        "model_version": "v1",
        "artifact_version": "v1",
        "identity_schema_version": "1",
        "dataset": dict(dataset._asdict()),
        "checksums": {**checksums.inputs, "sqlite_sha256": checksums.sqlite},
        "input_hashes": {**checksums.inputs, "policy_sha256": "unknown"},
        "stats": dict(stats),
        "identity": msgspec.to_builtins(identity(dataset, sums, **versions)),
        "toolchain_hash": "unknown",
        "db_hash": checksums.sqlite,
        "source_facts_path": "derived/source_facts.json",
        "normalized_input_identity_sha256": _hash(checksums.inputs),
        "software_version": software_version,
        "config_version": "reconciler.testing.samples",
        "build_policy_version": "reconciler.testing.samples",
        "build_metadata_path": "derived/build_metadata.json",
        "anomaly_summary_path": "derived/anomaly_summary.json",
        "dataset_stats_path": "derived/dataset_stats.json",
        "artifact_inventory_path": "derived/artifact_inventory.json",
        "evidence_bundle_path": "derived/evidence_bundle.lock.json",
        "evidence_bundle_sha256": "pending",
        "contig_naming_style": "chr_prefixed",
        "scientific_prerequisites_status": "complete",
        "artifact_hash": "",
    }


def sealed(document: Document) -> bytes:
    """The manifest's bytes, with the hash over its other members that is the server's cache key."""
    manifest = parse_manifest(canonical(document))
    return encode_manifest(msgspec.structs.replace(manifest, artifact_hash=artifact_hash(manifest)))
