r"""A small GFF3 reader for sample builds: genes, transcripts, exons, and what was wrong with the file.

Decides which records enter a sample dataset and counts every record that does not, by reason, so that
QC and anomaly reports tell the truth about the input (the serving store's contract 3.7, 4.4). It reads
the features gene, transcript (mRNA and its kin), exon and CDS; children may stand before their parents.

Never guesses: a transcript without its gene is an orphan, a parent cycle rejects everything in it, a
second gene of the same id is a duplicate. It is not a general GFF3 library.

    >>> text = "chr1\t.\tgene\t1\t9\t.\t+\t.\tID=g1;Name=ABC"
    >>> read_gff3(text, {"chr1": 20}).genes[0].name
    'ABC'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

_GENES = frozenset({"gene", "ncRNA_gene", "pseudogene"})
_TRANSCRIPTS = frozenset(
    {"mRNA", "transcript", "lnc_RNA", "ncRNA", "tRNA", "rRNA", "miRNA", "snRNA", "pseudogenic_transcript"}
)
_PARTS = frozenset({"exon", "CDS"})
_COLUMNS = 9


class Gene(NamedTuple):
    """One gene as its record says."""

    gene_id: str
    name: str
    biotype: str
    seqid: str
    start: int
    end: int


class Transcript(NamedTuple):
    """One transcript of a gene that exists; `biotype` is None where the record has none."""

    transcript_id: str
    gene_id: str
    transcript_type: str
    biotype: str | None
    seqid: str
    start: int
    end: int


class Part(NamedTuple):
    """One exon or CDS segment of a transcript that exists."""

    part_id: str
    transcript_id: str
    seqid: str
    start: int
    end: int

    @property
    def length(self) -> int:
        """Bases covered; both ends are inside."""
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomalies:
    """What was wrong with the input; `rejected` counts records by reason."""

    missing_parents: tuple[str, ...]
    parent_cycles: tuple[str, ...]
    duplicate_gene_ids: tuple[str, ...]
    unknown_contigs: tuple[str, ...]
    orphan_transcripts: tuple[str, ...]
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Everything read from one file, each kind sorted by place, then id."""

    genes: tuple[Gene, ...]
    transcripts: tuple[Transcript, ...]
    exons: tuple[Part, ...]
    cds: tuple[Part, ...]
    anomalies: Anomalies
    feature_count: int
    unknown_contig_features: int


class _Record(NamedTuple):
    kind: str
    seqid: str
    start: int
    end: int
    attributes: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.attributes.get("ID", "")

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(filter(None, self.attributes.get("Parent", "").split(",")))

    def first(self, *names: str) -> str:
        return next((self.attributes[name] for name in names if self.attributes.get(name)), "")


def read_gff3(text: str, contigs: Mapping[str, int]) -> Annotation:
    """Read one GFF3 document.

    Args:
        text: the document.
        contigs: the length of each known contig; a record elsewhere, or beyond it, is rejected.
    """
    return _Reader(contigs).read(text)


class _Reader:
    """Collects records, then resolves parents in one pass."""

    def __init__(self, contigs: Mapping[str, int]) -> None:
        self._contigs = contigs
        self._rejected: Counter[str] = Counter()
        self._missing: list[str] = []
        self._orphans: list[str] = []
        self._duplicates: list[str] = []
        self._unknown: Counter[str] = Counter()
        self._features = 0

    def read(self, text: str) -> Annotation:
        records = list(self._records(text))
        cycles = _cycles(records)
        if cycles:
            self._rejected["parent_cycle"] += sum(record.id in cycles for record in records)
            records = [record for record in records if record.id not in cycles]
        genes = self._genes(records)
        transcripts = self._transcripts(records, frozenset(genes), cycles)
        known = frozenset(transcripts)
        return Annotation(
            genes=tuple(sorted(genes.values(), key=lambda g: (g.seqid, g.start, g.end, g.gene_id))),
            transcripts=tuple(
                sorted(transcripts.values(), key=lambda t: (t.seqid, t.start, t.end, t.transcript_id))
            ),
            exons=self._parts(records, "exon", known),
            cds=self._parts(records, "CDS", known),
            anomalies=Anomalies(
                missing_parents=tuple(sorted(set(self._missing))),
                parent_cycles=tuple(sorted(cycles)),
                duplicate_gene_ids=tuple(sorted(self._duplicates)),
                unknown_contigs=tuple(sorted(self._unknown)),
                orphan_transcripts=tuple(sorted(self._orphans)),
                rejected=dict(sorted(self._rejected.items())),
            ),
            feature_count=self._features,
            unknown_contig_features=self._unknown.total(),
        )

    def _records(self, text: str) -> Iterator[_Record]:
        for line in text.splitlines():
            if line.startswith("##FASTA"):
                return
            if not line.strip() or line.startswith("#"):
                continue
            self._features += 1
            columns = line.split("\t")
            if len(columns) != _COLUMNS or not (columns[3].isdecimal() and columns[4].isdecimal()):
                self._rejected["malformed_record"] += 1
                continue
            record = _Record(
                columns[2], columns[0], int(columns[3]), int(columns[4]), _attributes(columns[8])
            )
            if record.seqid not in self._contigs:
                self._unknown[record.seqid] += 1
                self._rejected["unknown_contig"] += 1
            elif not 1 <= record.start <= record.end <= self._contigs[record.seqid]:
                self._rejected["outside_contig"] += 1
            elif record.kind in _GENES | _TRANSCRIPTS and not record.id:
                self._rejected["missing_id"] += 1
            else:
                yield record

    def _genes(self, records: list[_Record]) -> dict[str, Gene]:
        genes: dict[str, Gene] = {}
        for record in records:
            if record.kind not in _GENES:
                continue
            if record.id in genes:
                self._duplicates.append(record.id)
                self._rejected["duplicate_gene_id"] += 1
                continue
            name = record.first("gene_name", "Name") or record.id
            biotype = record.first("biotype", "gene_biotype") or "unknown"
            genes[record.id] = Gene(record.id, name, biotype, record.seqid, record.start, record.end)
        return genes

    def _transcripts(
        self, records: list[_Record], genes: frozenset[str], cycles: frozenset[str]
    ) -> dict[str, Transcript]:
        transcripts: dict[str, Transcript] = {}
        for record in records:
            if record.kind not in _TRANSCRIPTS:
                continue
            gene = next((parent for parent in record.parents if parent in genes), None)
            if gene is None:
                self._orphans.append(record.id)
                self._missing += [parent for parent in record.parents if parent not in cycles]
            elif record.id in transcripts:
                self._rejected["duplicate_transcript_id"] += 1
            else:
                biotype = record.first("biotype", "transcript_biotype") or None
                transcripts[record.id] = Transcript(
                    record.id, gene, record.kind, biotype, record.seqid, record.start, record.end
                )
        return transcripts

    def _parts(self, records: list[_Record], kind: str, known: frozenset[str]) -> tuple[Part, ...]:
        parts: list[Part] = []
        for record in records:
            if record.kind != kind:
                continue
            for parent in record.parents or ("",):
                if parent not in known:
                    self._missing.append(parent or f"(none, of {record.id or kind})")
                    continue
                part = record.id or f"{parent}:{kind}:{record.start}-{record.end}"
                parts.append(Part(part, parent, record.seqid, record.start, record.end))
        return tuple(sorted(parts, key=lambda p: (p.seqid, p.start, p.end, p.part_id, p.transcript_id)))


def _attributes(column: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in column.strip().split(";") if item)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


def _cycles(records: list[_Record]) -> frozenset[str]:
    """The ids from which following parents leads back to the same id."""
    parents = {record.id: record.parents for record in records if record.id and record.kind not in _PARTS}
    looping: set[str] = set()
    for start, direct in parents.items():
        seen: set[str] = set()
        ahead = list(direct)
        while ahead:
            parent = ahead.pop()
            if parent == start:
                looping.add(start)
                break
            if parent not in seen:
                seen.add(parent)
                ahead += parents.get(parent, ())
    return frozenset(looping)
