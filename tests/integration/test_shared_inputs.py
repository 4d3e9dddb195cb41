"""Public sample inputs, built and packed; they stand beside the checkout on some machines only."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.errors import InvalidInput
from reconciler.model import DatasetId
from reconciler.stores.serving.contents import ARTIFACT
from reconciler.stores.serving.pack import verify_pack, write_pack
from reconciler.stores.serving.verification import Status
from reconciler.stores.serving.verify import verify_dataset
from reconciler.testing.samples import BuiltRoot, build_root

SERVING = Path(__file__).resolve().parents[2].parent / "shared/data/serving"
ID = DatasetId("110", "homo_sapiens", "GRCh38")

pytestmark = pytest.mark.skipif(
    not SERVING.is_dir(), reason="the public sample inputs do not stand beside this checkout"
)


def built(tmp_path: Path, folder: str, annotation: str = "genes.gff3") -> BuiltRoot:
    inputs = SERVING / folder
    return build_root(
        tmp_path,
        dataset=ID,
        gff3=inputs / annotation,
        fasta=inputs / "genome.fa",
        fai=inputs / "genome.fa.fai",
    )


def genes(build: BuiltRoot) -> list[tuple[object, ...]]:
    uri = f"file:{build.directory / ARTIFACT}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        query = "SELECT gene_id, name, biotype, seqid, start, end, transcript_count FROM gene_summary"
        return connection.execute(query + " ORDER BY id").fetchall()


def quality(build: BuiltRoot, *path: str) -> object:
    value = json.loads((build.directory / "derived/qc.json").read_bytes())
    for name in path:
        value = value[name]
    return value


def test_tiny_is_built_with_both_its_genes(tmp_path: Path) -> None:
    assert genes(built(tmp_path, "tiny")) == [
        ("gene1", "BRCA1", "protein_coding", "chr1", 1, 20, 2),
        ("gene2", "TP53", "lncRNA", "chr2", 3, 30, 1),
    ]


def test_medium_is_built_with_its_three_genes(tmp_path: Path) -> None:
    assert genes(built(tmp_path, "medium")) == [
        ("gA1", "GENEA1", "protein_coding", "chrA", 2, 20, 1),
        ("gA2", "GENEA2", "lncRNA", "chrA", 25, 40, 1),
        ("gB1", "GENEB1", "protein_coding", "chrB", 1, 30, 1),
    ]


@pytest.mark.parametrize("folder", ["tiny", "medium"])
def test_a_built_root_verifies_deeply_and_its_manifest_vouches_for_its_pack(
    tmp_path: Path, folder: str
) -> None:
    build = built(tmp_path, folder)
    pack = io.BytesIO()
    handle = os.open(build.directory, os.O_RDONLY)
    try:
        report = verify_dataset(handle, ID, deep=True, store=False)
        write_pack(handle, pack, dataset=ID, where=folder)
    finally:
        os.close(handle)
    pack.seek(0)
    assert [check.name for check in report.checks if check.status is not Status.PASSED] == ["lock"]
    assert verify_pack(pack, expect=build.manifest).unbound == ()


def test_a_missing_parent_is_counted_in_both_reports(tmp_path: Path) -> None:
    build = built(tmp_path, "tiny", "genes_missing_parent.gff3")
    report = json.loads((build.directory / "derived/anomaly_report.json").read_bytes())
    assert report["missing_parents"] == ["missing_gene"]
    assert (quality(build, "orphan_counts", "transcripts"), quality(build, "counts", "transcripts")) == (1, 1)


def test_one_id_on_two_contigs_is_a_duplicate(tmp_path: Path) -> None:
    build = built(tmp_path, "tiny", "genes_overlap_contig_ids.gff3")
    assert quality(build, "duplicate_id_events", "duplicate_gene_ids") == 1
    assert genes(build) == [("gene_dup", "G1", "unknown", "chr1", 1, 10, 0)]


def test_a_parent_cycle_leaves_no_gene_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        built(tmp_path, "tiny", "genes_parent_cycle.gff3")
    assert caught.value.code == "E_SAMPLE_EMPTY"
