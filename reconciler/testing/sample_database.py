"""The SQLite artifact of a sample dataset: schema version 4, with the tables and indexes readers rely on.

Decides the rows: one per gene, transcript, exon and contig, with counts and spans derived from their
parts (the serving store's contract 4.1, 4.2). The database is built in memory, analysed, vacuumed and
returned as bytes whose header says WAL, as the reference leaves it; so no `-wal` or `-shm` can appear.

Never promises equal bytes on two machines: a SQLite file carries its writer's version. Equal input gives
equal rows; tests compare those.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import NamedTuple

from reconciler.testing.fasta import Contig
from reconciler.testing.gff3 import Annotation, Gene, Part, Transcript

SCHEMA_VERSION = 4
PAGE_SIZE = 4096
_WAL = b"\x02\x02"

_GENE_COLUMNS = """
  id INTEGER PRIMARY KEY, gene_id TEXT NOT NULL, name TEXT NOT NULL, name_normalized TEXT NOT NULL,
  biotype TEXT NOT NULL, seqid TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
  transcript_count INTEGER NOT NULL, exon_count INTEGER NOT NULL, total_exon_span INTEGER NOT NULL,
  cds_present INTEGER NOT NULL, sequence_length INTEGER NOT NULL"""
_TRANSCRIPT_COLUMNS = """
  id INTEGER PRIMARY KEY, transcript_id TEXT NOT NULL UNIQUE, parent_gene_id TEXT NOT NULL,
  transcript_type TEXT NOT NULL, biotype TEXT, seqid TEXT NOT NULL, start INTEGER NOT NULL,
  end INTEGER NOT NULL, exon_count INTEGER NOT NULL, total_exon_span INTEGER NOT NULL,
  cds_present INTEGER NOT NULL"""

_INDEXES = """
CREATE INDEX idx_gene_summary_gene_id ON gene_summary(gene_id);
CREATE INDEX idx_gene_summary_name ON gene_summary(name);
CREATE INDEX idx_gene_summary_name_normalized ON gene_summary(name_normalized);
CREATE INDEX idx_gene_summary_biotype ON gene_summary(biotype);
CREATE INDEX idx_gene_summary_region ON gene_summary(seqid, start, end);
CREATE INDEX idx_gene_summary_cover_lookup ON gene_summary(gene_id, name, biotype, seqid, start, end);
CREATE INDEX idx_gene_summary_cover_region ON gene_summary(seqid, start, end, gene_id, name, biotype);
CREATE INDEX idx_transcript_summary_transcript_id ON transcript_summary(transcript_id);
CREATE INDEX idx_transcript_summary_parent_gene_id ON transcript_summary(parent_gene_id);
CREATE INDEX idx_transcript_summary_biotype ON transcript_summary(biotype);
CREATE INDEX idx_transcript_summary_type ON transcript_summary(transcript_type);
CREATE INDEX idx_transcript_summary_region ON transcript_summary(seqid, start, end);
"""

_QUERIED = f"""
CREATE TABLE gene_summary({_GENE_COLUMNS}
) WITHOUT ROWID;
CREATE TABLE transcript_summary({_TRANSCRIPT_COLUMNS}
) WITHOUT ROWID;
CREATE TABLE transcripts({_TRANSCRIPT_COLUMNS},
  sequence_length INTEGER NOT NULL, spliced_length INTEGER, cds_length INTEGER
) WITHOUT ROWID;
CREATE TABLE atlas_meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE schema_version(version INTEGER PRIMARY KEY) WITHOUT ROWID;
CREATE VIRTUAL TABLE gene_summary_rtree USING rtree(gene_rowid, start, end);
"""

_SIDE_TABLES = f"""
CREATE TABLE genes({_GENE_COLUMNS}
) WITHOUT ROWID;
CREATE TABLE exons(
  id INTEGER PRIMARY KEY, exon_id TEXT NOT NULL, transcript_id TEXT NOT NULL, seqid TEXT NOT NULL,
  start INTEGER NOT NULL, end INTEGER NOT NULL, exon_length INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE transcript_exon_map(
  transcript_id TEXT NOT NULL, exon_id TEXT NOT NULL, PRIMARY KEY(transcript_id, exon_id)
) WITHOUT ROWID;
CREATE TABLE dataset_stats(
  dimension TEXT NOT NULL, value TEXT NOT NULL, gene_count INTEGER NOT NULL, PRIMARY KEY(dimension, value)
) WITHOUT ROWID;
CREATE TABLE contigs(
  name TEXT PRIMARY KEY, length INTEGER NOT NULL, gc_fraction REAL NOT NULL, n_fraction REAL NOT NULL
) WITHOUT ROWID;
"""


class GeneRow(NamedTuple):
    """A row of `gene_summary` and `genes`, in column order."""

    id: int
    gene_id: str
    name: str
    name_normalized: str
    biotype: str
    seqid: str
    start: int
    end: int
    transcript_count: int
    exon_count: int
    total_exon_span: int
    cds_present: int
    sequence_length: int


class TranscriptRow(NamedTuple):
    """A row of `transcripts`, in column order; `transcript_summary` holds all but the last three."""

    id: int
    transcript_id: str
    parent_gene_id: str
    transcript_type: str
    biotype: str | None
    seqid: str
    start: int
    end: int
    exon_count: int
    total_exon_span: int
    cds_present: int
    sequence_length: int
    spliced_length: int | None
    cds_length: int | None


class Rows(NamedTuple):
    """Every row of one artifact."""

    genes: tuple[GeneRow, ...]
    transcripts: tuple[TranscriptRow, ...]
    exons: tuple[Part, ...]
    contigs: tuple[Contig, ...]


def rows_of(annotation: Annotation, contigs: tuple[Contig, ...]) -> Rows:
    """Number the rows and derive their counts and spans from the annotation's parts."""
    exons = _by_transcript(annotation.exons)
    cds = _by_transcript(annotation.cds)
    transcripts = tuple(
        _transcript_row(number, item, exons.get(item.transcript_id, []), cds.get(item.transcript_id, []))
        for number, item in enumerate(annotation.transcripts, 1)
    )
    of_gene: dict[str, list[TranscriptRow]] = {}
    for row in transcripts:
        of_gene.setdefault(row.parent_gene_id, []).append(row)
    genes = tuple(
        _gene_row(number, gene, of_gene.get(gene.gene_id, []), exons)
        for number, gene in enumerate(annotation.genes, 1)
    )
    return Rows(genes, transcripts, annotation.exons, contigs)


def shard_rows(rows: Rows, seqid: str) -> Rows:
    """The rows of one contig; a shard holds no exons and no contigs (contract 2.7)."""
    return Rows(
        tuple(row for row in rows.genes if row.seqid == seqid),
        tuple(row for row in rows.transcripts if row.seqid == seqid),
        (),
        (),
    )


def database(rows: Rows, meta: Mapping[str, str]) -> bytes:
    """The complete artifact: all tables and indexes of schema version 4."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _create(connection, _QUERIED + _SIDE_TABLES, PAGE_SIZE)
        _insert_queried(connection, rows)
        _insert(connection, "genes", rows.genes)
        _insert(
            connection,
            "exons",
            [
                (n, e.part_id, e.transcript_id, e.seqid, e.start, e.end, e.length)
                for n, e in enumerate(rows.exons, 1)
            ],
        )
        pairs = sorted({(exon.transcript_id, exon.part_id) for exon in rows.exons})
        _insert(connection, "transcript_exon_map", pairs)
        _insert(connection, "dataset_stats", _statistics(rows.genes))
        _insert(
            connection, "contigs", [(c.name, c.length, c.gc_fraction, c.n_fraction) for c in rows.contigs]
        )
        return _finished(connection, meta)


def smallest_database(rows: Rows, meta: Mapping[str, str]) -> bytes:
    """Only what readers check (contract 4.2), in small pages: for stores of very many datasets."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _create(connection, _QUERIED, 512)
        _insert_queried(connection, rows)
        return _finished(connection, meta)


def with_meta(data: bytes, meta: Mapping[str, str], gene_name: str) -> bytes:
    """A copy of a small database under other metadata and another name of its first gene."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(bytes(data[:18]) + b"\x01\x01" + data[20:])
        connection.execute(
            "UPDATE gene_summary SET name=?, name_normalized=? WHERE id=1", (gene_name, gene_name.lower())
        )
        connection.executemany("INSERT OR REPLACE INTO atlas_meta VALUES(?,?)", sorted(meta.items()))
        return _bytes(connection)


def _create(connection: sqlite3.Connection, tables: str, page_size: int) -> None:
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.executescript(tables + _INDEXES)
    connection.execute("INSERT INTO schema_version VALUES(?)", (SCHEMA_VERSION,))


def _insert_queried(connection: sqlite3.Connection, rows: Rows) -> None:
    _insert(connection, "gene_summary", rows.genes)
    _insert(connection, "transcript_summary", [row[:11] for row in rows.transcripts])
    _insert(connection, "transcripts", rows.transcripts)
    _insert(connection, "gene_summary_rtree", [(row.id, row.start, row.end) for row in rows.genes])


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    rows = list(rows)
    if rows:
        marks = ",".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES({marks})", rows)


def _finished(connection: sqlite3.Connection, meta: Mapping[str, str]) -> bytes:
    connection.executemany("INSERT INTO atlas_meta VALUES(?,?)", sorted(meta.items()))
    connection.execute("ANALYZE")
    connection.execute("INSERT INTO atlas_meta VALUES('analyze_completed','true')")
    connection.execute("VACUUM")
    connection.execute("INSERT INTO atlas_meta VALUES('vacuum_completed','true')")
    return _bytes(connection)


def _bytes(connection: sqlite3.Connection) -> bytes:
    """The file's bytes; header bytes 18 and 19 say WAL, as the reference's ingest leaves them."""
    data = connection.serialize()
    return data[:18] + _WAL + data[20:]


def _statistics(genes: tuple[GeneRow, ...]) -> list[tuple[str, str, int]]:
    counted: dict[tuple[str, str], int] = {}
    for gene in genes:
        for key in (("biotype", gene.biotype), ("seqid", gene.seqid)):
            counted[key] = counted.get(key, 0) + 1
    return [(dimension, value, count) for (dimension, value), count in sorted(counted.items())]


def _by_transcript(parts: tuple[Part, ...]) -> dict[str, list[Part]]:
    grouped: dict[str, list[Part]] = {}
    for part in parts:
        grouped.setdefault(part.transcript_id, []).append(part)
    return grouped


def _transcript_row(number: int, item: Transcript, exons: list[Part], cds: list[Part]) -> TranscriptRow:
    spliced = sum(exon.length for exon in exons)
    return TranscriptRow(
        id=number,
        transcript_id=item.transcript_id,
        parent_gene_id=item.gene_id,
        transcript_type=item.transcript_type,
        biotype=item.biotype,
        seqid=item.seqid,
        start=item.start,
        end=item.end,
        exon_count=len(exons),
        total_exon_span=spliced,
        cds_present=int(bool(cds)),
        sequence_length=item.end - item.start + 1,
        spliced_length=spliced if exons else None,
        cds_length=sum(part.length for part in cds) if cds else None,
    )


def _gene_row(
    number: int, gene: Gene, transcripts: list[TranscriptRow], exons: Mapping[str, list[Part]]
) -> GeneRow:
    spans = {(e.start, e.end) for row in transcripts for e in exons.get(row.transcript_id, [])}
    return GeneRow(
        id=number,
        gene_id=gene.gene_id,
        name=gene.name,
        name_normalized=gene.name.strip().lower(),
        biotype=gene.biotype,
        seqid=gene.seqid,
        start=gene.start,
        end=gene.end,
        transcript_count=len(transcripts),
        exon_count=len(spans),
        total_exon_span=sum(end - start + 1 for start, end in spans),
        cds_present=int(any(row.cds_present for row in transcripts)),
        sequence_length=gene.end - gene.start + 1,
    )
