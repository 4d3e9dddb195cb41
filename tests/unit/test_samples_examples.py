"""The committed examples: real bytes under the digests that `desired/` names, and rebuildable rows."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import DatasetId
from reconciler.stores.serving.contents import ARTIFACT, MANIFEST, dataset_path
from reconciler.stores.serving.gates import DEFAULTS, check_gates, thresholds_from
from reconciler.stores.serving.manifest import artifact_hash, check_rules, parse_manifest
from reconciler.stores.serving.verification import Status
from reconciler.stores.serving.verify import verify_dataset

REPO = Path(__file__).resolve().parents[2]
EXAMPLES = {
    "human-110": DatasetId("110", "homo_sapiens", "GRCh38"),
    "human-111": DatasetId("111", "homo_sapiens", "GRCh38"),
    "mouse-110": DatasetId("110", "mus_musculus", "GRCm39"),
    "mouse-111": DatasetId("111", "mus_musculus", "GRCm39"),
}
TABLES = (
    "gene_summary",
    "genes",
    "transcript_summary",
    "transcripts",
    "exons",
    "transcript_exon_map",
    "dataset_stats",
    "contigs",
    "gene_summary_rtree",
    "schema_version",
)


def directory(name: str, builds: Path = REPO / "examples/builds") -> Path:
    return builds / name / dataset_path(EXAMPLES[name])


def table(database: Path, name: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        return sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)  # noqa: S608 - our names


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_examples_manifest_keeps_every_rule_and_names_the_bytes_beside_it(name: str) -> None:
    manifest = parse_manifest((directory(name) / MANIFEST).read_bytes())
    check_rules(manifest)
    assert manifest.id == EXAMPLES[name]
    assert manifest.artifact_hash == artifact_hash(manifest)
    assert manifest.checksums.sqlite_sha256 == sha256(directory(name) / ARTIFACT)
    assert manifest.checksums.gff3_sha256 == sha256(directory(name) / "inputs/genes.gff3.bgz")
    assert manifest.checksums.fasta_sha256 == sha256(directory(name) / "inputs/genome.fa.bgz")
    assert manifest.checksums.fai_sha256 == sha256(directory(name) / "inputs/genome.fa.bgz.fai")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_verifies_deeply_and_passes_every_gate_of_this_repository(name: str) -> None:
    paths = ("ops/datasets/qc-thresholds.json", "ops/datasets/publish-gates.json")
    thresholds = thresholds_from({path: (REPO / path).read_bytes() for path in paths})
    handle = os.open(directory(name), os.O_RDONLY)
    try:
        report = verify_dataset(handle, EXAMPLES[name], deep=True, thresholds=thresholds, store=False)
        assert check_gates(handle, EXAMPLES[name], thresholds) == ()
    finally:
        os.close(handle)
    assert [check.name for check in report.checks if check.status is not Status.PASSED] == ["lock"]


def test_the_thresholds_of_this_repository_are_the_references() -> None:
    paths = ("ops/datasets/qc-thresholds.json", "ops/datasets/publish-gates.json")
    assert thresholds_from({path: (REPO / path).read_bytes() for path in paths}) == DEFAULTS


@pytest.mark.parametrize("name", EXAMPLES)
def test_desired_state_names_the_digest_of_the_committed_manifest(name: str) -> None:
    catalogs = "".join(path.read_text("utf-8") for path in sorted((REPO / "desired/catalogs").glob("*.yaml")))
    assert (
        f'  - id: {EXAMPLES[name]}\n    manifest: "sha256:{sha256(directory(name) / MANIFEST)}"\n' in catalogs
    )


def test_exactly_one_declared_dataset_has_no_source() -> None:
    catalogs = "".join(path.read_text("utf-8") for path in (REPO / "desired/catalogs").glob("*.yaml"))
    sources = {line.split()[1] for line in catalogs.splitlines() if line.strip().startswith("source:")}
    assert sources == {f"examples/builds/{name}" for name in EXAMPLES if name != "mouse-110"}


def test_rebuilding_gives_the_same_rows_inputs_and_reports(tmp_path: Path) -> None:
    assert runpy.run_path(str(REPO / "examples/build.py"))["main"]([str(tmp_path)]) == 0
    for name in EXAMPLES:
        again, committed = directory(name, tmp_path), directory(name)
        for path in (
            "inputs/genes.gff3.bgz",
            "inputs/genome.fa.bgz",
            "derived/qc.json",
            "derived/anomaly_report.json",
        ):
            assert (again / path).read_bytes() == (committed / path).read_bytes()
        for rows in TABLES:
            assert table(again / ARTIFACT, rows) == table(committed / ARTIFACT, rows)


@pytest.mark.parametrize(
    ("name", "gene", "row"),
    [
        ("human-110", "MT-ND1", ("ENSG00000198888", "protein_coding", "MT", 3307, 4262)),
        ("human-111", "MT-TP", ("ENSG00000210196", "Mt_tRNA", "MT", 15956, 16023)),
        ("mouse-110", "mt-Cytb", ("ENSMUSG00000064370", "protein_coding", "MT", 14145, 15288)),
        ("mouse-111", "mt-Rnr1", ("ENSMUSG00000064337", "Mt_rRNA", "MT", 70, 1024)),
    ],
)
def test_a_known_gene_stands_where_it_really_is(name: str, gene: str, row: tuple[object, ...]) -> None:
    found = {item[2]: item for item in table(directory(name) / ARTIFACT, "gene_summary")}[gene]
    assert (found[1], *found[4:8]) == row


@pytest.mark.parametrize(
    ("name", "genes"), [("human-110", 15), ("human-111", 37), ("mouse-110", 13), ("mouse-111", 37)]
)
def test_an_example_has_the_number_of_genes_that_its_readme_says(name: str, genes: int) -> None:
    assert len(table(directory(name) / ARTIFACT, "gene_summary")) == genes


def test_the_dataset_manifest_and_lock_name_the_committed_inputs() -> None:
    manifest = json.loads((REPO / "ops/datasets/manifest.json").read_bytes())
    lock = json.loads((REPO / "ops/datasets/manifest.lock").read_bytes())
    assert {item["name"]: item["id"] for item in lock["entries"]} == {n: str(i) for n, i in EXAMPLES.items()}
    for listed, locked in zip(manifest["datasets"], lock["entries"], strict=True):
        assert (listed["name"], listed["id"]) == (locked["name"], locked["id"])
        for kind, path in listed["paths"].items():
            assert locked["checksums"][kind] == sha256(REPO / path)


def test_pins_name_exactly_the_datasets_of_the_manifest() -> None:
    pins = (REPO / "ops/inventory/pins.yaml").read_text("utf-8")
    listed = [line.strip(' -"') for line in pins.splitlines() if line.startswith("  - ")]
    assert listed == sorted(str(dataset) for dataset in EXAMPLES.values())
    keys = json.loads((REPO / "ops/inventory/gc-pins.json").read_bytes())["dataset_ids"]
    assert keys == [
        "release=110&species=homo_sapiens&assembly=GRCh38",
        "release=110&species=mus_musculus&assembly=GRCm39",
        "release=111&species=homo_sapiens&assembly=GRCh38",
        "release=111&species=mus_musculus&assembly=GRCm39",
    ]


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_the_registrys_manifests_name_the_examples_by_their_bytes(version: str) -> None:
    document = json.loads((REPO / f"desired/datasets/manifests/mitochondria-{version}.json").read_bytes())
    names = {str(dataset): name for name, dataset in EXAMPLES.items()}
    assert sorted(document["tables"]) == ["homo_sapiens", "mus_musculus"]
    for table_of in document["tables"].values():
        example = directory(names[table_of["dataset"]])
        assert table_of["manifest"] == f"sha256:{sha256(example / MANIFEST)}"
        assert table_of["genes"] == len(table(example / ARTIFACT, "gene_summary"))
