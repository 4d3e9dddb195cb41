"""The main artifact of a dataset: a SQLite database, opened so that nothing can be written (contract 4.2).

Decides whether a database keeps the contract: its named indexes and tables, a positive schema version, a
finished ANALYZE, and (stricter than the reference) the dataset that it says it is of. What cannot be read
is a problem in words, whatever SQLite threw.

The file may be hostile. It is opened by the descriptor that the caller got without following links, with
`mode=ro&immutable=1`, so SQLite makes no `-wal`, `-shm` or journal and never creates a missing file;
schema code is not trusted, values are bounded, and the work per file is bounded by its size.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from reconciler.errors import Problem, Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving.files import io_error

REQUIRED_INDEXES = (
    "idx_gene_summary_biotype",
    "idx_gene_summary_cover_lookup",
    "idx_gene_summary_cover_region",
    "idx_gene_summary_gene_id",
    "idx_gene_summary_name",
    "idx_gene_summary_name_normalized",
    "idx_gene_summary_region",
    "idx_transcript_summary_biotype",
    "idx_transcript_summary_parent_gene_id",
    "idx_transcript_summary_region",
    "idx_transcript_summary_transcript_id",
    "idx_transcript_summary_type",
)
REQUIRED_TABLES = ("gene_summary_rtree", "transcript_summary")

_MAGIC = b"SQLite format 3\0"
_VALUE_LIMIT = 10_000_000
_SCHEMA_LIMIT = 10_000
_OPERATIONS = 10_000
_OPERATIONS_BASE = 2_000_000
_OPERATIONS_PER_BYTE = 20
_FIX = "rebuild the dataset"


class UnreadableDatabase(Exception):
    """SQLite could not read the file; carries the problem. Never leaves this package."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class DatabaseFacts(NamedTuple):
    """What a database says of itself; None where it says nothing.

    `names` holds (type, name) of everything in its schema.
    """

    names: frozenset[tuple[str, str]]
    schema_version: int | None
    analyze_completed: bool
    dataset_id: str | None


class RowCounts(NamedTuple):
    """How many rows a database really has."""

    genes: int
    transcripts: int


@contextmanager
def database(handle: int, path: str) -> Iterator[sqlite3.Connection]:
    """A read-only connection to an open file.

    Args:
        handle: a descriptor that was opened without following links.
        path: how problems name the file.

    Raises:
        UnreadableDatabase: E_SQLITE_MAGIC or E_SQLITE.
        Unavailable: E_IO, the file system failed or the file was replaced while it was opened.
    """
    try:
        magic, size = os.pread(handle, len(_MAGIC), 0), os.fstat(handle).st_size
    except OSError as error:
        raise io_error(error, path) from error
    if magic != _MAGIC:
        raise UnreadableDatabase(
            Problem(code="E_SQLITE_MAGIC", message="this is not a SQLite database", path=path, fix=_FIX)
        )
    try:
        with closing(_connected(handle, path)) as connection:
            _bound(connection, size)
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite may quote the file's bytes in its message
        if isinstance(error, sqlite3.Error) and _is_read_failure(error):
            raise Unavailable.of("E_IO", f"SQLite could not read this: {error}", path=path) from error
        raise UnreadableDatabase(
            Problem(
                code="E_SQLITE",
                message="SQLite cannot read this database",
                path=path,
                got=str(error),
                fix=_FIX,
            )
        ) from error


def _is_read_failure(error: sqlite3.Error) -> bool:
    """Whether the disk failed, rather than the file being wrong; the low byte is SQLite's primary code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def _connected(handle: int, path: str) -> sqlite3.Connection:
    """Open by descriptor; SQLite itself needs a name, so the name must lead to the same file afterwards."""
    before = os.fstat(handle)
    try:
        connection = sqlite3.connect(
            f"file:/proc/self/fd/{handle}?mode=ro&immutable=1", uri=True, isolation_level=None
        )
    except sqlite3.OperationalError as error:  # nothing was parsed yet: the name leads nowhere
        raise _replaced(path) from error
    try:
        after = os.stat(os.readlink(f"/proc/self/fd/{handle}"), follow_symlinks=False)
    except OSError as error:
        connection.close()
        raise _replaced(path) from error
    if (before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns) != (
        after.st_dev,
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    ):
        connection.close()
        raise _replaced(path)
    return connection


def _replaced(path: str) -> Unavailable:
    return Unavailable.of("E_IO", "the file was replaced while it was read", path=path, fix="run again")


def _bound(connection: sqlite3.Connection, size: int) -> None:
    """Take away what a hostile file could use: writes, schema code, huge values, endless work."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_LIMIT)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    left = (_OPERATIONS_BASE + size * _OPERATIONS_PER_BYTE) // _OPERATIONS

    def stop() -> int:
        nonlocal left
        left -= 1
        return int(left < 0)

    connection.set_progress_handler(stop, _OPERATIONS)
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA trusted_schema=0")
    connection.execute("PRAGMA cell_size_check=1")


def database_facts(connection: sqlite3.Connection) -> DatabaseFacts:
    """What the database says of itself, from its schema, `schema_version` and `atlas_meta`."""
    rows = connection.execute(f"SELECT type, name FROM sqlite_master LIMIT {_SCHEMA_LIMIT}").fetchall()  # noqa: S608
    names = frozenset((str(kind), str(name)) for kind, name in rows)
    meta: dict[str, object] = {}
    if ("table", "atlas_meta") in names:
        meta = dict(
            connection.execute(
                "SELECT k, v FROM atlas_meta WHERE k IN ('schema_version', 'analyze_completed', 'dataset_id')"
            ).fetchmany(8)
        )
    version: object = meta.get("schema_version")
    if ("table", "schema_version") in names:
        version = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0]
    dataset_id = meta.get("dataset_id")
    return DatabaseFacts(
        names=names,
        schema_version=_integer(version),
        analyze_completed=meta.get("analyze_completed") == "true",
        dataset_id=None if dataset_id is None else str(dataset_id),
    )


def _integer(value: object) -> int | None:
    if isinstance(value, int):
        return value
    text = value if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def row_counts(connection: sqlite3.Connection) -> RowCounts:
    """How many genes and transcripts the database has; every row is visited."""
    genes, transcripts = (
        # sum() steps through the virtual machine, whose work is bounded; count(*) does not
        connection.execute(f"SELECT coalesce(sum(1), 0) FROM {table}").fetchone()[0]  # noqa: S608
        for table in ("gene_summary", "transcript_summary")
    )
    return RowCounts(genes, transcripts)


def contract_problems(facts: DatabaseFacts, path: str, dataset: DatasetId | None) -> tuple[Problem, ...]:
    """What the contract for databases finds wrong (4.2), and a database of another dataset.

    Args:
        facts: what the database says.
        path: how problems name it.
        dataset: the dataset it must be of; None for one whose own id is not to be compared.
    """
    return (*_schema_problems(facts, path), *_statement_problems(facts, path, dataset))


def _schema_problems(facts: DatabaseFacts, path: str) -> Iterator[Problem]:
    """Missing indexes and tables."""
    required = (
        ("index", "E_SQLITE_INDEX", "indexes", REQUIRED_INDEXES),
        ("table", "E_SQLITE_TABLE", "tables", REQUIRED_TABLES),
    )
    for kind, code, what, wanted in required:
        missing = [name for name in wanted if (kind, name) not in facts.names]
        if missing:
            yield Problem(code=code, message=f"{what} are missing: {', '.join(missing)}", path=path, fix=_FIX)


def _statement_problems(facts: DatabaseFacts, path: str, dataset: DatasetId | None) -> Iterator[Problem]:
    """What the database says of itself and must not: no version, no ANALYZE, another dataset."""
    if facts.schema_version is None or facts.schema_version < 1:
        yield Problem(
            code="E_SQLITE_VERSION",
            message="the database states no schema version above zero",
            path=path,
            got=None if facts.schema_version is None else str(facts.schema_version),
            fix=_FIX,
        )
    if not facts.analyze_completed:
        message = "atlas_meta does not say analyze_completed"
        yield Problem(code="E_SQLITE_ANALYZE", message=message, path=path, fix=_FIX)
    if dataset is not None and facts.dataset_id is not None and facts.dataset_id != str(dataset):
        yield Problem(
            code="E_IDENTITY",
            message=f"the database says that it is of another dataset than {dataset}",
            path=path,
            got=facts.dataset_id,
            fix="publish the database under its own id",
        )


def database_problems(handle: int, path: str, dataset: DatasetId | None) -> tuple[Problem, ...]:
    """Open a database and hold it to the contract, in one go.

    Raises:
        Unavailable: E_IO.
    """
    try:
        with database(handle, path) as connection:
            return contract_problems(database_facts(connection), path, dataset)
    except UnreadableDatabase as error:
        return (error.problem,)
