"""The questions that a server asks a dataset: how many genes, which gene has this id, which lie in a region.

Decides whether the database of every listed dataset answers them: as many genes as its manifest states, and
the first and the last gene found again by id and by region, along the indexes that the contract names (4.2).
Opens databases for reading only and writes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Final

from reconciler.errors import InvalidInput, Problem
from reconciler.model import DatasetId
from reconciler.stores.keeping import Answers
from reconciler.stores.serving.artifact_db import UnreadableDatabase, database, row_counts
from reconciler.stores.serving.contents import ARTIFACT, MANIFEST, dataset_path
from reconciler.stores.serving.files import open_file, read_file
from reconciler.stores.serving.heads import Heads
from reconciler.stores.serving.manifest import parse_manifest

_ENDS: Final = (
    'SELECT gene_id, seqid, start, "end" FROM gene_summary ORDER BY gene_id LIMIT 1',
    'SELECT gene_id, seqid, start, "end" FROM gene_summary ORDER BY gene_id DESC LIMIT 1',
)
_BY_ID: Final = 'SELECT seqid, start, "end" FROM gene_summary WHERE gene_id = ?'
_BY_REGION: Final = (
    'SELECT 1 FROM gene_summary WHERE seqid = ? AND start <= ? AND "end" >= ? AND gene_id = ? LIMIT 1'
)
_PER_DATASET: Final = 5


def asked(root: int, where: str, heads: Heads) -> Answers:
    """Ask the database of every listed dataset.

    Raises:
        Unavailable: one cannot be read.
    """
    problems = [problem for entry in heads.catalog.entries for problem in _unanswered(root, where, entry.id)]
    datasets = len(heads.catalog.entries)
    about = f"genes counted and found by id and by region in {datasets} listed datasets"
    return Answers(datasets * _PER_DATASET, about, tuple(problems))


def _unanswered(root: int, where: str, dataset: DatasetId) -> Iterator[Problem]:
    place = dataset_path(dataset)
    path = f"{where}/{place}/{ARTIFACT}"
    data = read_file(root, f"{place}/{MANIFEST}", where=where)
    handle = open_file(root, f"{place}/{ARTIFACT}", where)
    if data is None or handle is None:
        yield _wrong("E_ARTIFACT_MISSING", f"the catalog lists {dataset}, and it is not there", path)
        if handle is not None:
            os.close(handle)
        return
    try:
        stated = parse_manifest(data, f"{where}/{place}/{MANIFEST}").stats.gene_count
        with database(handle, path) as connection:
            found = row_counts(connection).genes
            if found != stated:
                yield _wrong("E_STATS", f"the database has {found} genes, its manifest states {stated}", path)
            if not _finds(connection):
                yield _wrong("E_SQLITE", "a gene is not found again by its id or its region", path)
    except UnreadableDatabase as error:
        yield error.problem
    except InvalidInput as error:
        yield from error.problems
    finally:
        os.close(handle)


def _finds(connection: sqlite3.Connection) -> bool:
    """Whether the first and the last gene are found again."""
    for end in _ENDS:
        gene = connection.execute(end).fetchone()
        if gene is None:
            continue
        name, seqid, start, stop = gene
        if (seqid, start, stop) not in connection.execute(_BY_ID, (name,)).fetchmany(100):
            return False
        if connection.execute(_BY_REGION, (seqid, stop, start, name)).fetchone() is None:
            return False
    return True


def _wrong(code: str, message: str, path: str) -> Problem:
    return Problem(code=code, message=message, path=path, fix="restore another backup")
