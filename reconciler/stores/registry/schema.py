"""The tables of a registry, as SQLAlchemy Core describes them; only migrations and their tests read this.

Decides keys, references and what a delete may not take with it: every reference is ON DELETE RESTRICT,
so a racing link can never be erased by a delete. A dataset exists if it has a link; there is no table of
datasets. `latest` and `dev` are rows of `dataset_tags` whose `precedence` is absent.

A version that is removed leaves a row in `retired_versions`, so that its name is never used for other bytes.

`precedence` is a text in SemVer order (`reference.Version`); its unique key is why two versions that
differ only in build metadata cannot both stand. All text compares by bytes on both engines.

At run time nothing here is imported: the statements speak SQL through the drivers.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)


def bytewise() -> TypeEngine[str]:
    """Text that compares by bytes, whatever the database's collation."""
    return Text().with_variant(Text(collation="C"), "postgresql")


manifests = Table(
    "manifests",
    metadata,
    Column("hash", bytewise(), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
)

dataset_manifests = Table(
    "dataset_manifests",
    metadata,
    Column("namespace", bytewise(), primary_key=True),
    Column("name", bytewise(), primary_key=True),
    Column("hash", bytewise(), ForeignKey("manifests.hash", ondelete="RESTRICT"), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "hash"),
)

dataset_tags = Table(
    "dataset_tags",
    metadata,
    Column("namespace", bytewise(), primary_key=True),
    Column("name", bytewise(), primary_key=True),
    Column("version", bytewise(), primary_key=True),
    Column("precedence", bytewise()),
    Column("prerelease", Boolean, nullable=False),
    Column("hash", bytewise(), nullable=False),
    Column("yanked", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("namespace", "name", "precedence"),
    ForeignKeyConstraint(
        ["namespace", "name", "hash"],
        ["dataset_manifests.namespace", "dataset_manifests.name", "dataset_manifests.hash"],
        ondelete="RESTRICT",
    ),
)

retired_versions = Table(
    "retired_versions",
    metadata,
    Column("namespace", bytewise(), primary_key=True),
    Column("name", bytewise(), primary_key=True),
    Column("precedence", bytewise(), primary_key=True),
    Column("version", bytewise(), nullable=False),
    Column("hash", bytewise(), nullable=False),
    Column("retired_at", BigInteger, nullable=False),
)

manifest_tombstones = Table(
    "manifest_tombstones",
    metadata,
    Column("hash", bytewise(), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
)

reconciler_ledger = Table(
    "reconciler_ledger",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("intent", LargeBinary, nullable=False),
    Column("outcome", LargeBinary, nullable=False),
    Column("closed_at", BigInteger),
    Column("protects", Boolean),
    Index(None, "protects", sqlite_where=text("protects"), postgresql_where=text("protects")),
)

registry_restored = Table(
    "registry_restored",
    metadata,
    Column("backup", bytewise(), primary_key=True),
)
"""The backup that the registry was restored from, until a drill proved it."""

reconciler_packets = Table(
    "reconciler_packets",
    metadata,
    Column(
        "seq",
        BigInteger,
        ForeignKey("reconciler_ledger.seq", ondelete="RESTRICT"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("packet", LargeBinary, nullable=False),
)

registry_generation = Table(
    "registry_generation",
    metadata,
    Column("generation", BigInteger, nullable=False),
    info={"engine": "postgresql"},  # SQLite's file counts its commits itself
)
