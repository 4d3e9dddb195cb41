# ruff: noqa: INP001 - a script, not a package
"""Rebuild the example build roots from the gene tables beside this file.

    python examples/build.py OUT        writes OUT/human-110, OUT/human-111, OUT/mouse-110, OUT/mouse-111

The committed roots under `examples/builds` are read as they are: a SQLite file carries the version of the
SQLite that wrote it, so a rebuild on another machine gives other digests for the same content. After a
deliberate rebuild, `manifest:` in `desired/` and the checksums in `ops/datasets/manifest.lock` must follow;
this command prints the digests.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from reconciler.model import DatasetId
from reconciler.testing.samples import BuiltRoot, build_root

_GENES = Path(__file__).parent / "genes"
_LINE = 60
_CODING = "protein_coding"
_TRANSCRIPTS = {_CODING: "mRNA", "Mt_rRNA": "rRNA", "Mt_tRNA": "tRNA"}


class Example(NamedTuple):
    """One example dataset: which genes of which table stand on which contig."""

    name: str
    dataset: DatasetId
    contig_length: int
    biotypes: frozenset[str]


EXAMPLES = (
    Example("human-110", DatasetId("110", "homo_sapiens", "GRCh38"), 16569, frozenset({_CODING, "Mt_rRNA"})),
    Example("human-111", DatasetId("111", "homo_sapiens", "GRCh38"), 16569, frozenset(_TRANSCRIPTS)),
    Example("mouse-110", DatasetId("110", "mus_musculus", "GRCm39"), 16299, frozenset({_CODING})),
    Example("mouse-111", DatasetId("111", "mus_musculus", "GRCm39"), 16299, frozenset(_TRANSCRIPTS)),
)


def gff3(example: Example) -> str:
    """The annotation of one example: gene, transcript, exon and, for coding genes, CDS."""
    lines = ["##gff-version 3", f"##sequence-region MT 1 {example.contig_length}"]
    with (_GENES / f"{example.dataset.species}.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["biotype"] in example.biotypes:
                lines += _records(row)
    return "\n".join(lines) + "\n"


def _records(row: dict[str, str]) -> list[str]:
    gene, transcript, biotype = row["gene_id"], row["transcript_id"], row["biotype"]

    def record(kind: str, attributes: str, phase: str = ".") -> str:
        place = f"{row['start']}\t{row['end']}\t.\t{row['strand']}\t{phase}"
        return f"MT\texample\t{kind}\t{place}\t{attributes}"

    records = [
        record("gene", f"ID={gene};Name={row['name']};biotype={biotype}"),
        record(_TRANSCRIPTS[biotype], f"ID={transcript};Parent={gene};biotype={biotype}"),
        record("exon", f"ID={transcript}.exon1;Parent={transcript}"),
    ]
    if biotype == _CODING:
        records.append(record("CDS", f"ID={transcript}.cds;Parent={transcript}", "0"))
    return records


def fasta(example: Example) -> str:
    """The contig at its true length, every base masked."""
    full, rest = divmod(example.contig_length, _LINE)
    lines = ["N" * _LINE] * full + ["N" * rest] * bool(rest)
    return "\n".join([">MT", *lines]) + "\n"


def build(example: Example, out: Path) -> BuiltRoot:
    """Build one example below OUT."""
    with tempfile.TemporaryDirectory() as scratch:
        annotation, sequence = Path(scratch, "genes.gff3"), Path(scratch, "genome.fa")
        annotation.write_text(gff3(example), encoding="utf-8")
        sequence.write_text(fasta(example), encoding="utf-8")
        return build_root(out / example.name, dataset=example.dataset, gff3=annotation, fasta=sequence)


def main(arguments: list[str]) -> int:
    """Build all examples below the one directory given."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python examples/build.py OUT\n")
        return 3
    for example in EXAMPLES:
        built = build(example, Path(arguments[0]))
        sys.stdout.write(f"{example.name} {built.dataset} {built.manifest}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
