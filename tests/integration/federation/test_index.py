"""A local index of atdata is read as it is, checked by its CIDs, and never written."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.errors import Corrupt, InvalidInput, ReconcilerError, Unavailable
from reconciler.stores.atdata_index import entry_cid, open_index, schema_name
from tests.integration.federation.index import SAMPLE, Index, sample_schema

URLS = ["https://data.example.org/1.tar"]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.create(tmp_path / "index" / "index.db")


def found(index: Index, reference: str) -> str:
    with open_index(index.path, "index.db") as opened:
        return opened.find(reference).cid


def refused(index: Index, reference: str, cid: str = "") -> str:
    with pytest.raises(ReconcilerError) as error, open_index(index.path, "index.db") as opened:
        _ = opened.pinned(reference, cid) if cid else opened.find(reference)
    return error.value.code


def test_the_cid_of_an_entry_is_that_of_the_reference() -> None:
    # The golden value of contract A1.
    assert entry_cid(SAMPLE, ("https://x.invalid/1.tar",)) == (
        "bafyreiaafd37g62tvpmzezpbabzbau4bj7j6aj5upj7edbxifbrvai7pya"
    )


def test_an_entry_is_read_by_its_pin(index: Index) -> None:
    cid = index.insert("d1", URLS, metadata={"split": "train", "rows": 3})
    with open_index(index.path, "index.db") as opened:
        entry = opened.pinned("d1", cid)
        assert (entry.cid, entry.name, entry.schema_ref, entry.urls, dict(entry.metadata)) == (
            cid,
            "d1",
            SAMPLE,
            tuple(URLS),
            {"split": "train", "rows": 3},
        )
        assert opened.schema(entry.schema_ref) == sample_schema()


def test_an_entry_is_found_by_name_label_reference_and_cid(index: Index) -> None:
    one = index.insert("d1", URLS, version="1.0.0")
    two = index.insert("d1", ["https://data.example.org/2.tar"], version="2.0.0")

    assert [found(index, text) for text in ("d1@1.0.0", "@local/d1@1.0.0", "local/d1@2.0.0", one)] == [
        one,
        one,
        two,
        one,
    ]
    assert (found(index, "d1"), found(index, "atdata://local/dataset/d1")) == (two, two)


def test_the_label_that_was_moved_last_decides_and_not_the_oldest_row(index: Index) -> None:
    one = index.insert("d1", URLS)
    two = index.insert("d1", ["https://data.example.org/2.tar"])
    assert found(index, "d1") == two
    index.label("d1", one, "")
    assert found(index, "d1") == one


def test_a_name_without_a_label_must_be_one_entry(index: Index) -> None:
    index.insert("d1", URLS)
    index.run("DELETE FROM labels")
    assert found(index, "d1").startswith("bafyrei")
    index.insert("d1", ["https://data.example.org/2.tar"])
    index.run("DELETE FROM labels")
    assert refused(index, "d1") == "E_ENTRY_AMBIGUOUS"


def test_what_the_index_does_not_hold_is_refused(index: Index) -> None:
    cid = index.insert("d1", URLS)
    other = entry_cid(SAMPLE, ("https://data.example.org/2.tar",))
    assert [refused(index, name) for name in ("d2", "d1@9.9.9", "")] == ["E_ENTRY_UNKNOWN"] * 3
    assert refused(index, "d2", other) == "E_ENTRY_UNKNOWN"
    assert refused(index, "d1", other) == "E_CID_MISMATCH"
    assert refused(index, "d2", cid) == "E_CID_MISMATCH"


def test_an_entry_that_is_not_what_its_cid_says_is_corrupt(index: Index) -> None:
    cid = index.insert("d1", URLS)
    index.run("UPDATE dataset_entries SET schema_ref = 'atdata://local/schema/Other@1.0.0'")
    with pytest.raises(Corrupt) as error, open_index(index.path, "index.db") as opened:
        opened.pinned("d1", cid)
    assert error.value.code == "E_CID_MISMATCH"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (SAMPLE, ("Sample", "1.0.0")),
        ("local://schemas/my.module.Sample@1.0.0", ("Sample", "1.0.0")),
    ],
)
def test_both_forms_of_a_schema_reference_are_read(reference: str, expected: tuple[str, str]) -> None:
    assert schema_name(reference) == expected


@pytest.mark.parametrize("reference", ["atdata://local/schema/Sample", "at://x/y/z@1", "Sample@1.0.0", "@1"])
def test_another_schema_reference_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInput) as error:
        schema_name(reference)
    assert error.value.code == "E_SCHEMA_REF"


def test_a_schema_that_is_missing_or_no_json_is_refused(index: Index) -> None:
    with open_index(index.path, "index.db") as opened, pytest.raises(InvalidInput) as error:
        opened.schema("atdata://local/schema/Other@1.0.0")
    assert error.value.code == "E_SCHEMA_UNKNOWN"
    index.run("UPDATE schemas SET schema_json = '{'")
    with open_index(index.path, "index.db") as opened, pytest.raises(InvalidInput) as error:
        opened.schema(SAMPLE)
    assert error.value.code == "E_JSON_SYNTAX"


def test_reading_leaves_no_trace_beside_the_index(index: Index) -> None:
    cid = index.insert("d1", URLS)
    before = {path.name: path.read_bytes() for path in index.path.parent.iterdir()}
    with open_index(index.path, "index.db") as opened:
        opened.pinned("d1", cid)
    assert {path.name: path.read_bytes() for path in index.path.parent.iterdir()} == before


def test_what_a_writer_that_is_still_at_work_committed_is_read(index: Index) -> None:
    with closing(sqlite3.connect(index.path)) as writer:
        writer.execute("SELECT * FROM labels").fetchall()
        cid = index.insert("d1", URLS)  # by another connection, whose end does not fold the log in
        assert Path(f"{index.path}-wal").stat().st_size > 0
        assert found(index, "d1") == cid


def test_what_a_killed_writer_left_in_its_log_is_read_from_a_copy(index: Index, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    with closing(sqlite3.connect(index.path)) as writer:
        writer.execute("SELECT * FROM labels").fetchall()
        cid = index.insert("d1", URLS)
        for name in ("index.db", "index.db-wal"):
            shutil.copyfile(index.path.parent / name, left / name)
    before = {path.name: path.read_bytes() for path in left.iterdir()}

    assert found(Index(left / "index.db"), "d1") == cid
    assert {path.name: path.read_bytes() for path in left.iterdir()} == before


@pytest.mark.parametrize("content", [None, b"", b"not a database", b"SQLite format 3\0" + b"\0" * 200])
def test_what_is_no_index_is_unavailable_and_never_empty(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "index.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unavailable) as error, open_index(path, "index.db"):
        pass
    assert (error.value.code, sorted(one.name for one in tmp_path.iterdir())) == (
        "E_INDEX",
        [] if content is None else ["index.db"],
    )


def test_a_database_with_other_tables_is_no_index(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE schemas (a)")
    with pytest.raises(Unavailable) as error, open_index(path, "index.db"):
        pass
    assert "dataset_entries" in error.value.problems[0].message
