r"""Sample datasets: GFF3 and FASTA in, a complete build root out, without the reference's ingest.

`build_root` makes everything that a serving store's build root holds: inputs, the SQLite artifact, the
manifest with all its hashes, reports, gene index, inventory and evidence bundle, and shards if asked for
(the serving store's contract 1 to 4). `minimal_dataset` makes the smallest dataset that may be promoted,
in well under a millisecond of computing, for stores of very many datasets.

Equal input gives equal rows and documents. Digests follow the SQLite version, because a SQLite file
carries its writer's version; so digests that must hold everywhere come from committed files.

As a command it builds one root:

    python -m reconciler.testing.samples OUT --dataset 110/homo_sapiens/GRCh38 \
        --gff3 genes.gff3 --fasta genome.fa --fai genome.fa.fai
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

from reconciler import __version__
from reconciler.canonical import canonical, sha256_digest, sha256_hex
from reconciler.errors import InvalidInput, ReconcilerError
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving import contents
from reconciler.stores.serving.lock_files import (
    Publication,
    Published,
    encode_immutable,
    encode_lock,
    encode_state,
    encode_transitions,
)
from reconciler.testing import sample_documents as documents
from reconciler.testing.fasta import Contig, read_fasta
from reconciler.testing.gff3 import Annotation, read_gff3
from reconciler.testing.sample_database import (
    PAGE_SIZE,
    SCHEMA_VERSION,
    database,
    rows_of,
    shard_rows,
    smallest_database,
    with_meta,
)
from reconciler.testing.sample_documents import Sample, Sums


class Sharding(Enum):
    """Whether genes also stand in one artifact per contig."""

    NONE = "none"
    CONTIG = "contig"


class Stage(Enum):
    """What a minimal dataset looks like: just built, or as the reference's publish leaves it."""

    BUILT = "built"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRoot:
    """One built dataset: the root above `release=…`, the dataset's directory and its manifest's digest."""

    root: Path
    dataset: DatasetId
    directory: Path
    manifest: Digest


def build_root(
    out: Path,
    *,
    dataset: DatasetId,
    gff3: Path,
    fasta: Path,
    fai: Path | None = None,
    software_version: str = __version__,
    sharding: Sharding = Sharding.NONE,
) -> BuiltRoot:
    """Build a complete build root below `out`.

    Args:
        out: the root; the dataset's directory is made below it.
        dataset: the id that the inputs get.
        gff3: the annotation, copied as it is.
        fasta: the sequence, copied as it is.
        fai: its index, believed for contig lengths and copied; computed if not given.
        software_version: what the documents name as their builder's version.
        sharding: whether shards are made beside the main artifact.

    Raises:
        InvalidInput: E_SAMPLE_FASTA, E_SAMPLE_EMPTY (no gene is left), E_SAMPLE_EXISTS.
    """
    annotation_bytes, sequence_bytes = gff3.read_bytes(), fasta.read_bytes()
    contigs, index = read_fasta(sequence_bytes.decode("utf-8"), fai.read_text("utf-8") if fai else None)
    annotation = read_gff3(annotation_bytes.decode("utf-8"), {c.name: c.length for c in contigs})
    if not annotation.genes:
        raise InvalidInput.of(
            "E_SAMPLE_EMPTY", "no gene of this annotation can be used", path=str(gff3), fix="see its records"
        )
    files = {
        "inputs/genes.gff3.bgz": annotation_bytes,
        "inputs/genome.fa.bgz": sequence_bytes,
        "inputs/genome.fa.bgz.fai": index.encode("utf-8"),
    }
    files |= _derived(
        dataset, (annotation, contigs), files, software_version=software_version, sharding=sharding
    )
    directory = out / contents.dataset_path(dataset)
    _write(directory, files)
    return BuiltRoot(
        root=out,
        dataset=dataset,
        directory=directory,
        manifest=Digest(sha256_digest(files[contents.MANIFEST])),
    )


def minimal_dataset(
    root: Path, dataset: DatasetId, *, genes: int = 1, seed: int = 0, stage: Stage = Stage.BUILT
) -> Digest:
    """Make the smallest dataset that may be published and promoted; returns its manifest's digest.

    Args:
        root: a build root or a store; the dataset's directory is made below it.
        dataset: the id.
        genes: how many genes it has, each with one transcript.
        seed: another seed gives other content under the same id.
        stage: BUILT adds inputs and reports; PUBLISHED adds the store's own files instead.

    Raises:
        InvalidInput: E_SAMPLE_EXISTS.
    """
    annotation, contigs, inputs, template = _minimal(genes)
    artifact = with_meta(template, {"dataset_id": str(dataset)}, f"SAMPLE{seed}")
    checksums = _checksums(inputs, artifact)
    stats = {"gene_count": genes, "transcript_count": genes, "contig_count": len(contigs)}
    document = documents.smallest_manifest(dataset, checksums, stats=stats, software_version=__version__)
    manifest = documents.sealed(document)
    files = {contents.MANIFEST: manifest, contents.ARTIFACT: artifact}
    if stage is Stage.PUBLISHED:
        files |= _store_files(dataset, Published(sha256_hex(manifest), checksums.sqlite))
    else:
        files |= inputs
        quality = canonical(documents.quality_report(annotation))
        files["derived/qc.json"] = files["derived/qc_report.json"] = quality
        files["derived/anomaly_report.json"] = canonical(documents.anomaly_report(annotation))
    _write(root / contents.dataset_path(dataset), files)
    return Digest(sha256_digest(manifest))


def _derived(
    dataset: DatasetId,
    read: tuple[Annotation, tuple[Contig, ...]],
    inputs: Mapping[str, bytes],
    *,
    software_version: str,
    sharding: Sharding,
) -> dict[str, bytes]:
    """Every file below `derived/`, in the order in which they depend on each other."""
    annotation, contigs = read
    rows = rows_of(annotation, contigs)
    artifact = database(rows, _meta(dataset, inputs, software_version))
    sample = Sample(
        dataset=dataset,
        software_version=software_version,
        annotation=annotation,
        rows=rows,
        checksums=_checksums(inputs, artifact),
        sharding=sharding.value,
    )
    files = {contents.ARTIFACT: artifact}
    for name, document in documents.side_documents(sample).items():
        files[f"derived/{name}.json"] = canonical(document)
    everything = {**inputs, **files}
    inventory = canonical(documents.inventory(sample, everything))
    files["derived/artifact_inventory.json"] = everything["derived/artifact_inventory.json"] = inventory
    files["derived/evidence_bundle.lock.json"] = canonical(documents.evidence_bundle(sample, everything))
    if sharding is Sharding.CONTIG:
        files |= _shards(sample, _meta(dataset, inputs, software_version))
    files[contents.MANIFEST] = documents.manifest(sample, everything)
    return files


def _shards(sample: Sample, meta: Mapping[str, str]) -> dict[str, bytes]:
    """One artifact per contig that has genes, and `catalog_shards.json` (contract 2.7)."""
    files: dict[str, bytes] = {}
    shards = []
    for seqid in sorted({row.seqid for row in sample.rows.genes}):
        shard = "".join(char if char.isalnum() or char in "_-" else "_" for char in seqid.lower())
        name = f"gene_summary.{shard}.sqlite"
        if f"derived/{name}" in files:
            raise InvalidInput.of(
                "E_SAMPLE_SHARD", "two contigs need the same shard name", got=seqid, fix="rename a contig"
            )
        data = database(shard_rows(sample.rows, seqid), meta)
        files[f"derived/{name}"] = data
        shards.append(
            {"shard_id": shard, "seqids": [seqid], "sqlite_path": name, "sqlite_sha256": sha256_hex(data)}
        )
    shards.sort(key=lambda item: (item["shard_id"], item["seqids"]))
    catalog = {"model_version": "v1", "dataset": sample.id_object, "mode": "contig", "shards": shards}
    return {**files, "derived/catalog_shards.json": canonical(catalog)}


def _checksums(inputs: Mapping[str, bytes], artifact: bytes) -> Sums:
    return Sums(
        gff3=sha256_hex(inputs["inputs/genes.gff3.bgz"]),
        fasta=sha256_hex(inputs["inputs/genome.fa.bgz"]),
        fai=sha256_hex(inputs["inputs/genome.fa.bgz.fai"]),
        sqlite=sha256_hex(artifact),
    )


def _meta(dataset: DatasetId, inputs: Mapping[str, bytes], software_version: str) -> dict[str, str]:
    """The keys of `atlas_meta` that describe the build (contract 4.1)."""
    sums = _checksums(inputs, b"")
    return {
        "schema_version": str(SCHEMA_VERSION),
        "ingest_journal_mode": "WAL",
        "ingest_locking_mode": "EXCLUSIVE",
        "ingest_page_size": str(PAGE_SIZE),
        "ingest_mmap_size": "268435456",
        "dataset_release": dataset.release,
        "dataset_species": dataset.species,
        "dataset_assembly": dataset.assembly,
        "dataset_id": str(dataset),
        "created_by": f"reconciler-samples@{software_version}",
        "input_hashes": f"gff3={sums.gff3};fasta={sums.fasta};fai={sums.fai}",
        "fasta_sha256": sums.fasta,
        "fai_sha256": sums.fai,
    }


@lru_cache(maxsize=8)
def _minimal(genes: int) -> tuple[Annotation, tuple[Contig, ...], Mapping[str, bytes], bytes]:
    """The inputs and the template artifact that minimal datasets share."""
    lines = ["##gff-version 3"]
    for n in range(1, genes + 1):
        place = f"{n * 10}\t{n * 10 + 8}\t.\t+\t."
        lines.append(f"chr1\tsample\tgene\t{place}\tID=gene{n};Name=SAMPLE;biotype=protein_coding")
        lines.append(f"chr1\tsample\tmRNA\t{place}\tID=tx{n};Parent=gene{n};biotype=protein_coding")
    gff3 = "\n".join(lines) + "\n"
    fasta = ">chr1\n" + "N" * (genes * 10 + 10) + "\n"
    contigs, index = read_fasta(fasta, None)
    annotation = read_gff3(gff3, {contig.name: contig.length for contig in contigs})
    inputs = {
        "inputs/genes.gff3.bgz": gff3.encode(),
        "inputs/genome.fa.bgz": fasta.encode(),
        "inputs/genome.fa.bgz.fai": index.encode(),
    }
    rows = rows_of(annotation, contigs)
    return annotation, contigs, inputs, smallest_database(rows, {"schema_version": str(SCHEMA_VERSION)})


def _store_files(dataset: DatasetId, published: Published) -> dict[str, bytes]:
    """What the reference's publish adds to the two files (contract 2.5, 2.6), at a fixed time."""
    publication = Publication(dataset, published, "1714592400")
    return {
        contents.LOCK: encode_lock(published),
        contents.IMMUTABLE: encode_immutable(dataset, published),
        contents.LIFECYCLE_TRANSITIONS: encode_transitions(publication),
        contents.LIFECYCLE_STATE: encode_state(publication),
    }


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    if (directory / contents.MANIFEST).exists():
        raise InvalidInput.of(
            "E_SAMPLE_EXISTS", "a dataset stands here already", path=str(directory), fix="choose another root"
        )
    for parent in {path.rpartition("/")[0] for path in files}:
        (directory / parent).mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        (directory / path).write_bytes(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build one root from the command line; prints its manifest's digest."""
    parser = argparse.ArgumentParser(prog="python -m reconciler.testing.samples", allow_abbrev=False)
    parser.add_argument("out", type=Path, help="the build root to make or add to")
    parser.add_argument("--dataset", required=True, help="RELEASE/SPECIES/ASSEMBLY")
    parser.add_argument("--gff3", type=Path, required=True)
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--fai", type=Path)
    parser.add_argument("--sharding", choices=[item.value for item in Sharding], default="none")
    options = parser.parse_args(arguments)
    try:
        built = build_root(
            options.out,
            dataset=DatasetId.parse(options.dataset),
            gff3=options.gff3,
            fasta=options.fasta,
            fai=options.fai,
            sharding=Sharding(options.sharding),
        )
    except (ReconcilerError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return int(getattr(error, "exit_code", 10))
    sys.stdout.write(f"{built.dataset} {built.manifest} {built.directory}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
