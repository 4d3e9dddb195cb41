"""The database contract, on real databases and on hostile files; reading one leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.errors import Problem, Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving.artifact_db import (
    REQUIRED_INDEXES,
    RowCounts,
    UnreadableDatabase,
    database,
    database_problems,
    row_counts,
)
from reconciler.stores.serving.files import open_file
from tests.unit.serving.examples import HUMAN, codes, descriptor

NAME = "derived/gene_summary.sqlite"

ENDLESS = (
    "CREATE VIEW transcript_summary AS"
    " WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x FROM t) SELECT x FROM t"
)


def problems(directory: Path, dataset: DatasetId | None = HUMAN) -> tuple[Problem, ...]:
    """What is wrong with the database of a dataset directory."""
    with descriptor(directory) as root:
        handle = open_file(root, NAME)
        assert handle is not None
        try:
            return database_problems(handle, NAME, dataset)
        finally:
            os.close(handle)


def counted(root: int) -> RowCounts:
    """The row counts of a dataset's database."""
    handle = open_file(root, NAME)
    assert handle is not None
    with os.fdopen(handle, "rb"), database(handle, NAME) as connection:
        return row_counts(connection)


def edit(directory: Path, *statements: str) -> None:
    """Change a database as its owner could."""
    with closing(sqlite3.connect(directory / NAME)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_published_database_keeps_the_contract(published: Path) -> None:
    assert problems(published) == ()


@pytest.mark.parametrize("index", REQUIRED_INDEXES)
def test_each_missing_index_is_named(published: Path, index: str) -> None:
    edit(published, f"DROP INDEX {index}")
    found = problems(published)
    assert codes(found) == ["E_SQLITE_INDEX"]
    assert found[0].message == f"indexes are missing: {index}"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP TABLE gene_summary_rtree", ["E_SQLITE_TABLE"]),
        ("DELETE FROM schema_version", ["E_SQLITE_VERSION"]),
        ("UPDATE schema_version SET version = 0", ["E_SQLITE_VERSION"]),
        ("UPDATE atlas_meta SET v = 'false' WHERE k = 'analyze_completed'", ["E_SQLITE_ANALYZE"]),
        ("DROP TABLE atlas_meta", ["E_SQLITE_ANALYZE"]),
        ("UPDATE atlas_meta SET v = '111/homo_sapiens/GRCh38' WHERE k = 'dataset_id'", ["E_IDENTITY"]),
        ("DELETE FROM atlas_meta WHERE k = 'dataset_id'", []),
    ],
)
def test_each_part_of_the_contract_is_checked(published: Path, statement: str, expected: list[str]) -> None:
    edit(published, statement)
    assert codes(problems(published)) == expected


def test_the_schema_version_may_stand_in_atlas_meta(published: Path) -> None:
    edit(
        published,
        "DROP TABLE schema_version",
        "INSERT OR REPLACE INTO atlas_meta VALUES ('schema_version', '4')",
    )
    assert problems(published) == ()
    edit(published, "UPDATE atlas_meta SET v = 'four' WHERE k = 'schema_version'")
    assert codes(problems(published)) == ["E_SQLITE_VERSION"]


def test_a_view_does_not_stand_for_a_table(published: Path) -> None:
    edit(
        published,
        "DROP TABLE transcript_summary",
        ENDLESS,
    )
    assert codes(problems(published)) == ["E_SQLITE_INDEX", "E_SQLITE_TABLE"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "E_SQLITE_MAGIC"),
        (b"sqlite", "E_SQLITE_MAGIC"),
        (b"SQLite format 3\0", "E_SQLITE"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "E_SQLITE"),
        (b"SQLite format 3\0" + b"\0" * 100_000, "E_SQLITE"),
    ],
)
def test_a_file_that_is_no_database_is_said_to_be_none(published: Path, data: bytes, code: str) -> None:
    (published / NAME).write_bytes(data)
    found = problems(published)
    assert codes(found) == [code]


def test_a_truncated_database_is_a_problem_and_no_traceback(published: Path) -> None:
    data = (published / NAME).read_bytes()
    for size in range(100, len(data), 4096):
        (published / NAME).write_bytes(data[:size])
        assert problems(published) != ()


def test_endless_work_is_stopped(published: Path) -> None:
    edit(
        published,
        "DROP TABLE gene_summary_rtree",
        "DROP TABLE transcript_summary",
        ENDLESS,
    )
    with descriptor(published) as root, pytest.raises(UnreadableDatabase) as stopped:
        counted(root)
    assert (stopped.value.problem.code, stopped.value.problem.got) == ("E_SQLITE", "interrupted")


def test_a_wal_database_on_a_read_only_mount_leaves_nothing_behind(built: Path) -> None:
    data = (built / NAME).read_bytes()
    assert data[18:20] == b"\x02\x02", "ingest leaves the journal mode WAL in the header"
    before = sorted((built / "derived").iterdir())
    (built / NAME).chmod(0o444)
    (built / "derived").chmod(0o555)
    try:
        assert problems(built) == ()
    finally:
        (built / "derived").chmod(0o755)
    assert sorted((built / "derived").iterdir()) == before
    assert (built / NAME).read_bytes() == data


def test_nothing_can_be_written_through_the_connection(published_fd: int) -> None:
    handle = open_file(published_fd, NAME)
    assert handle is not None
    with (
        os.fdopen(handle, "rb"),
        pytest.raises(UnreadableDatabase) as refused,
        database(handle, NAME) as connection,
    ):
        connection.execute("DELETE FROM atlas_meta")
    assert "readonly" in str(refused.value.problem.got)


def test_a_database_replaced_while_it_is_opened_is_not_judged(
    published: Path, other: Callable[[DatasetId], Path]
) -> None:
    newer = other(DatasetId("111", "homo_sapiens", "GRCh38")) / NAME
    with descriptor(published) as root:
        handle = open_file(root, NAME)
        assert handle is not None
        with os.fdopen(handle, "rb"):
            newer.replace(published / NAME)
            with pytest.raises(Unavailable) as refused:
                database_problems(handle, NAME, HUMAN)
    assert refused.value.code == "E_IO"


def test_rows_are_counted(built_fd: int) -> None:
    assert counted(built_fd) == RowCounts(genes=2, transcripts=2)
