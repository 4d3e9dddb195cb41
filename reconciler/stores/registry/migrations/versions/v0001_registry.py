"""The first tables: manifests, links, tags, tombstones and the ledger.

The reasons for keys and references stand in `reconciler.stores.registry.schema`; this module is frozen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _bytewise() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _content()
    _datasets()
    if op.get_bind().dialect.name == "postgresql":
        _generation()


def _content() -> None:
    op.create_table(
        "manifests",
        sa.Column("hash", _bytewise(), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_manifests"),
    )
    op.create_table(
        "manifest_tombstones",
        sa.Column("hash", _bytewise(), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("hash", name="pk_manifest_tombstones"),
    )
    op.create_table(
        "reconciler_ledger",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("intent", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_reconciler_ledger"),
    )


def _datasets() -> None:
    op.create_table(
        "dataset_manifests",
        sa.Column("namespace", _bytewise(), nullable=False),
        sa.Column("name", _bytewise(), nullable=False),
        sa.Column("hash", _bytewise(), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", "hash", name="pk_dataset_manifests"),
        sa.ForeignKeyConstraint(
            ["hash"], ["manifests.hash"], name="fk_dataset_manifests_hash", ondelete="RESTRICT"
        ),
    )
    op.create_index("ix_dataset_manifests_hash", "dataset_manifests", ["hash"])
    op.create_table(
        "dataset_tags",
        sa.Column("namespace", _bytewise(), nullable=False),
        sa.Column("name", _bytewise(), nullable=False),
        sa.Column("version", _bytewise(), nullable=False),
        sa.Column("precedence", _bytewise()),
        sa.Column("prerelease", sa.Boolean, nullable=False),
        sa.Column("hash", _bytewise(), nullable=False),
        sa.Column("yanked", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", "version", name="pk_dataset_tags"),
        sa.UniqueConstraint(
            "namespace", "name", "precedence", name="uq_dataset_tags_namespace_name_precedence"
        ),
        sa.ForeignKeyConstraint(
            ["namespace", "name", "hash"],
            ["dataset_manifests.namespace", "dataset_manifests.name", "dataset_manifests.hash"],
            name="fk_dataset_tags_namespace_name_hash",
            ondelete="RESTRICT",
        ),
    )


def _generation() -> None:
    """Count every statement that changes rows, whoever sends it: a cheap revision."""
    op.create_table("registry_generation", sa.Column("generation", sa.BigInteger, nullable=False))
    op.execute("INSERT INTO registry_generation (generation) VALUES (0)")
    op.execute("""
        CREATE FUNCTION registry_moved() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            UPDATE registry_generation SET generation = generation + 1;
            RETURN NULL;
        END
        $$
    """)
    for table in ("manifests", "dataset_manifests", "dataset_tags", "reconciler_ledger"):
        op.execute(f"""
            CREATE TRIGGER registry_moved AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION registry_moved()
        """)


def downgrade() -> None:
    """Refused: a registry's history is not undone by dropping tables; restore a backup."""
    raise NotImplementedError
