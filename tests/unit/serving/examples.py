"""The worked example of the serving store's contract (2.2 to 2.6), written out, and ways to change it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.errors import Problem
from reconciler.model import DatasetId

HUMAN = DatasetId("110", "homo_sapiens", "GRCh38")

CATALOG_BYTES = (
    b'{"datasets":[{"dataset":{"assembly":"GRCh38","release":"110","species":"homo_sapiens"},'
    b'"manifest_path":"release=110/species=homo_sapiens/assembly=GRCh38/derived/manifest.json",'
    b'"sqlite_path":"release=110/species=homo_sapiens/assembly=GRCh38/derived/gene_summary.sqlite"}],'
    b'"model_version":"v1"}'
)

GFF3 = """##gff-version 3
chr1\tx\tgene\t1\t80\t.\t+\t.\tID=g1;gene_id=ENSG1;gene_name=ONE;gene_biotype=protein_coding
chr1\tx\tmRNA\t1\t80\t.\t+\t.\tID=t1;Parent=g1;transcript_id=ENST1
chr1\tx\texon\t1\t40\t.\t+\t.\tID=e1;Parent=t1
chr1\tx\tCDS\t1\t30\t.\t+\t0\tID=c1;Parent=t1
chr1\tx\tmRNA\t1\t60\t.\t+\t.\tID=t2;Parent=g1;transcript_id=ENST2
chr2\tx\tgene\t5\t20\t.\t-\t.\tID=g2;gene_id=ENSG2;gene_name=TWO;gene_biotype=lncRNA
"""
FASTA = ">chr1\n" + "N" * 100 + "\n>chr2\n" + "N" * 50 + "\n"


def smallest() -> dict[str, Any]:
    """The smallest manifest that keeps all 22 rules; its identity is the contract's worked example."""
    return {
        "model_version": "v1",
        "artifact_version": "v1",
        "schema_version": "1",
        "manifest_version": "1",
        "db_schema_version": "1",
        "identity_schema_version": "1",
        "dataset": {"release": "110", "species": "homo_sapiens", "assembly": "GRCh38"},
        "checksums": {
            "gff3_sha256": "a" * 64,
            "fasta_sha256": "b" * 64,
            "fai_sha256": "c" * 64,
            "sqlite_sha256": "d" * 64,
        },
        "input_hashes": {
            "gff3_sha256": "a" * 64,
            "fasta_sha256": "b" * 64,
            "fai_sha256": "c" * 64,
            "policy_sha256": "unknown",
        },
        "stats": {"gene_count": 1, "transcript_count": 1, "contig_count": 1},
        "identity": {
            "release_id": "110/homo_sapiens/GRCh38",
            "source_fingerprint_sha256": "c6d58696d237b90b6f11f38d51fd799328834d96146ef572d94bcd7a3b30f682",
            "build_fingerprint_sha256": "8f81d9d5b579978981d4736cd5b64b52b523a1cb2ae7113466ad17feb4b9302b",
            "artifact_fingerprint_sha256": "25649e453a98cbabdedbaaa7d5e46d42c1a68ed6a18cd1aae56a5b504829ffa2",
            "canonical_metadata_sha256": "86b92e1deb8b1257cd4690c6d22a8f794edcdcef52d7a2047a4b60a8227a5030",
        },
        "toolchain_hash": "unknown",
        "db_hash": "d" * 64,
        "artifact_hash": "e" * 64,
        "source_facts_path": "derived/source_facts.json",
        "normalized_input_identity_sha256": "f" * 64,
        "software_version": "0.2.1",
        "config_version": "1",
        "build_policy_version": "1",
        "build_metadata_path": "derived/build_metadata.json",
        "anomaly_summary_path": "derived/anomaly_summary.json",
        "dataset_stats_path": "derived/dataset_stats.json",
        "artifact_inventory_path": "derived/artifact_inventory.json",
        "evidence_bundle_path": "derived/evidence_bundle.lock.json",
        "evidence_bundle_sha256": "pending",
    }


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The document with the member at a dotted path set, or taken out where the value is `...`."""
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def json_bytes(document: object) -> bytes:
    """JSON as somebody else might write it: spaced, not sorted."""
    return json.dumps(document).encode()


def codes(problems: tuple[Problem, ...]) -> list[str]:
    """The codes of problems, in their order."""
    return [problem.code for problem in problems]


@contextmanager
def descriptor(directory: Path) -> Iterator[int]:
    """An open descriptor of a directory."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)
