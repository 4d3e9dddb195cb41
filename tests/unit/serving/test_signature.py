"""The row signature: the tree, both forms, and rows that have none."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest

from reconciler.stores.serving.signature import (
    Form,
    SignatureForms,
    TableHash,
    merkle_root,
    signature_forms,
    signature_of,
)

Row = tuple[object, ...]

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SCHEMA = """
CREATE TABLE gene_summary(gene_id, name, biotype, seqid, start, end, transcript_count, exon_count,
  total_exon_span, cds_present, sequence_length);
CREATE TABLE transcript_summary(transcript_id, parent_gene_id, transcript_type, biotype, seqid, start, end,
  exon_count, total_exon_span, cds_present);
CREATE TABLE transcripts(transcript_id, parent_gene_id, transcript_type, biotype, seqid, start, end,
  exon_count, total_exon_span, cds_present, sequence_length, spliced_length, cds_length);
"""
GENES = [
    ("g1", "ONE", "protein_coding", "chr1", 10, 90, 1, 1, 40, 1, 81),
    ("g0", "NIL", "lncRNA", "chr1", 10, 95, 0, 0, 0, 0, 86),
]
TRANSCRIPT = ("t1", "g1", "mRNA", None, "chr1", 10, 90, 1, 40, 1, 81, 40, None)


def forms_of(*, genes: Sequence[Row], transcripts: Sequence[Row]) -> SignatureForms:
    """The signatures of a database in memory with these rows."""
    with closing(sqlite3.connect(":memory:")) as connection:
        fill(connection, genes, transcripts)
        return signature_forms(connection)


def fill(connection: sqlite3.Connection, genes: Sequence[Row], transcripts: Sequence[Row]) -> None:
    connection.executescript(SCHEMA)
    connection.executemany("INSERT INTO gene_summary VALUES (?,?,?,?,?,?,?,?,?,?,?)", genes)
    connection.executemany("INSERT INTO transcripts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", transcripts)
    connection.executemany(
        "INSERT INTO transcript_summary VALUES (?,?,?,?,?,?,?,?,?,?)", [row[:10] for row in transcripts]
    )


def test_no_rows_have_the_signature_of_the_contract() -> None:
    none = "8cafd81c6d18d95e86f6d90a798286d9f572ef83ccad820f49bb017bbb6cc64b"
    assert signature_of(TableHash(EMPTY, 0), TableHash(EMPTY, 0)) == none
    assert forms_of(genes=[], transcripts=[]) == SignatureForms(none, none)


@pytest.mark.parametrize(
    ("leaves", "root"),
    [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("ab", "fa0dafbf43f1f551e536353e9d1a942a8e86e41a0b58dfeaf264ef217f6b862a"),
        ("abc", "f372961e0178fea099eb05057b8b6a363a21f7ee2456e6e17a8f92990d01d1f9"),
        ("abcde", "b9722fc91a85dab8c56c5e745e9123021aaa9012e11c38f3a344a58a466bd93e"),
        ("abcdefabc", "7147170a9cdc3117b99aebb3bc1d84fa797fed3a3df57316a4fab724bb06c0e4"),
    ],
)
def test_an_odd_node_is_paired_with_itself(leaves: str, root: str) -> None:
    assert merkle_root(leaf * 64 for leaf in leaves) == root


def test_both_forms_of_real_rows() -> None:
    ingest = "7e52ae2da9f4721471619acf04e3565acbc2e8cb8daad0b0075ee3cb20d18cfe"
    verify = "1bc5ee1f3b27bbcb6afa715913de36ecd8124498003bd0b5b00e47baaa56a1d2"
    forms = forms_of(genes=GENES, transcripts=[TRANSCRIPT])
    assert forms == SignatureForms(ingest, verify)
    assert forms.form_of(ingest) is Form.INGEST
    assert forms.form_of(verify) is Form.VERIFY
    assert forms.form_of(EMPTY) is None


def test_the_order_of_rows_in_the_file_does_not_matter() -> None:
    forms = forms_of(genes=GENES[::-1], transcripts=[TRANSCRIPT])
    assert forms == forms_of(genes=GENES, transcripts=[TRANSCRIPT])


@pytest.mark.parametrize(("column", "value"), [(0, None), (4, 1.5), (4, "10"), (1, b"x"), (9, None)])
def test_rows_of_other_types_have_no_signature(column: int, value: object) -> None:
    odd = (*GENES[0][:column], value, *GENES[0][column + 1 :])
    assert forms_of(genes=[odd], transcripts=[]) == SignatureForms(None, None)


def test_tables_of_another_schema_have_no_signature() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE gene_summary(gene_id, biotype)")
        assert signature_forms(connection) == SignatureForms(None, None)


def test_without_the_table_of_ingest_the_other_form_remains() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        fill(connection, [], [])
        connection.execute("DROP TABLE transcripts")
        forms = signature_forms(connection)
    assert (forms.ingest, forms.verify is None) == (None, False)
