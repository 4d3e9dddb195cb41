"""The signature of a dataset's rows, in the two forms that the reference has (contract 4.3).

The reference writes one form at ingest and checks another at verify; they differ as soon as there is a
transcript, so its own deep verification cannot succeed. Both are computed here, and the caller says which
one a manifest states. Ours is the ingest form: it covers more members.

A row that does not have the types of schema v4 has no signature (`None`): that is reported, not passed.
Rows are streamed in the database's own order and the tree is folded as they come, in constant memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from reconciler.canonical import canonical, sha256_hex


class Form(StrEnum):
    """Which of the reference's two signatures: as ingest writes it, or as its verify recomputes it."""

    INGEST = "ingest"
    VERIFY = "verify"


class SignatureForms(NamedTuple):
    """The signature in each form; None where the rows cannot be hashed in that form."""

    ingest: str | None
    verify: str | None

    def form_of(self, stated: str) -> Form | None:
        """Which form a manifest's signature is, or None if it is neither."""
        if stated == self.ingest:
            return Form.INGEST
        return Form.VERIFY if stated == self.verify else None


class _Member(NamedTuple):
    name: str
    column: str
    kinds: tuple[type, ...]


def _members(*specs: str) -> tuple[_Member, ...]:
    """Members from `name[=column]:type`, where the type is text, int, bool, or one of them with `?`."""
    members = []
    for spec in specs:
        names, _, kind = spec.partition(":")
        name, _, column = names.partition("=")
        kinds: tuple[type, ...] = (str,) if kind.startswith("text") else (int,)
        members.append(_Member(name, column or name, (*kinds, type(None)) if kind.endswith("?") else kinds))
    return tuple(members)


_GENE = _members(
    "biotype:text",
    "cds_present:bool",
    "end:int",
    "exon_count:int",
    "gene_id:text",
    "gene_name=name:text",
    "seqid:text",
    "sequence_length:int",
    "start:int",
    "total_exon_span:int",
    "transcript_count:int",
)
_TRANSCRIPT = _members(
    "biotype:text?",
    "cds_present:bool",
    "end:int",
    "exon_count:int",
    "parent_gene_id:text",
    "seqid:text",
    "start:int",
    "total_exon_span:int",
    "transcript_id:text",
    "transcript_type:text",
)
_INGEST_ONLY = _members("cds_span_length=cds_length:int?", "sequence_length:int", "spliced_length:int?")


class _Table(NamedTuple):
    name: str
    members: tuple[_Member, ...]
    order: tuple[str, ...]


_TABLES = {
    Form.INGEST: (
        _Table("gene_summary", _GENE, ("seqid", "start", "gene_id")),
        _Table("transcripts", (*_TRANSCRIPT, *_INGEST_ONLY), ("seqid", "start", "transcript_id")),
    ),
    Form.VERIFY: (
        _Table("gene_summary", _GENE, ("seqid", "start", "end", "gene_id")),
        _Table("transcript_summary", _TRANSCRIPT, ("seqid", "start", "end", "transcript_id")),
    ),
}


class TableHash(NamedTuple):
    """The Merkle root over a table's rows, and their number."""

    root: str
    rows: int


def merkle_root(leaves: Iterable[str]) -> str:
    """The root over leaf hashes: pairs of hex texts hashed together, an odd one paired with itself."""
    waiting: list[str | None] = []
    for leaf in leaves:
        node, level = leaf, 0
        while level < len(waiting) and (left := waiting[level]) is not None:
            waiting[level] = None
            node, level = _parent(left, node), level + 1
        if level == len(waiting):
            waiting.append(None)
        waiting[level] = node
    return _folded(waiting)


def _folded(waiting: Sequence[str | None]) -> str:
    node: str | None = None
    for left in waiting[:-1]:
        if node is not None:
            node = _parent(left or node, node)
        elif left is not None:
            node = _parent(left, left)
    if not waiting:
        return hashlib.sha256().hexdigest()
    top = waiting[-1] or ""
    return top if node is None else _parent(top, node)


def _parent(left: str, right: str) -> str:
    return hashlib.sha256((left + right).encode("ascii")).hexdigest()


def signature_of(genes: TableHash, transcripts: TableHash) -> str:
    """The signature over the two tables' roots and row counts."""
    return sha256_hex(
        canonical(
            {
                "gene_table_hash": genes.root,
                "transcript_table_hash": transcripts.root,
                "gene_count": genes.rows,
                "transcript_count": transcripts.rows,
            }
        )
    )


def signature_forms(connection: sqlite3.Connection) -> SignatureForms:
    """Both signatures of a database.

    Raises:
        sqlite3.Error: the database cannot be read; `artifact_db.database` turns it into words.
    """
    return SignatureForms(
        ingest=_signature(connection, Form.INGEST), verify=_signature(connection, Form.VERIFY)
    )


def _signature(connection: sqlite3.Connection, form: Form) -> str | None:
    hashes = [_table_hash(connection, table) for table in _TABLES[form]]
    genes, transcripts = hashes
    return None if genes is None or transcripts is None else signature_of(genes, transcripts)


def _table_hash(connection: sqlite3.Connection, table: _Table) -> TableHash | None:
    """The root and the row count of one table; None where it is not of schema v4."""
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
    if not columns.issuperset(member.column for member in table.members):
        return None
    selected = ", ".join(f'"{member.column}"' for member in table.members)
    order = ", ".join(f'"{column}"' for column in table.order)
    rows = connection.execute(f"SELECT {selected} FROM {table.name} ORDER BY {order}")  # noqa: S608 - our names
    leaves = _Leaves(table.members, rows)
    root = merkle_root(leaves)
    return None if leaves.odd_row else TableHash(root, leaves.count)


class _Leaves:
    """The leaf hashes of rows, counted as they pass; stops at a row with other types."""

    __slots__ = ("_members", "_rows", "count", "odd_row")

    def __init__(self, members: tuple[_Member, ...], rows: Iterable[tuple[object, ...]]) -> None:
        self._members = members
        self._rows = rows
        self.count = 0
        self.odd_row = False

    def __iter__(self) -> Iterator[str]:
        names = [member.name for member in self._members]
        kinds = [member.kinds for member in self._members]
        truth = names.index("cds_present")
        for row in self._rows:
            if not all(type(value) in kind for value, kind in zip(row, kinds, strict=True)):
                self.odd_row = True
                return
            document = dict(zip(names, row, strict=True))
            document["cds_present"] = bool(row[truth])
            self.count += 1
            yield sha256_hex(canonical(document))
