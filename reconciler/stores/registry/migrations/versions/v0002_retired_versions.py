"""What removed versions named, so that their names are never used for other bytes; filled from the ledger.

The reasons stand in `reconciler.stores.registry.schema`; this module is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

from reconciler.reference import DEV, LATEST, parse_version

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _bytewise() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table, and say of every version that the ledger saw removed what it named."""
    retired = op.create_table(
        "retired_versions",
        sa.Column("namespace", _bytewise(), nullable=False),
        sa.Column("name", _bytewise(), nullable=False),
        sa.Column("precedence", _bytewise(), nullable=False),
        sa.Column("version", _bytewise(), nullable=False),
        sa.Column("hash", _bytewise(), nullable=False),
        sa.Column("retired_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", "precedence", name="pk_retired_versions"),
    )
    rows = {row[:3]: row for row in _removed()}  # the last removal counts
    if rows:
        columns = [column.name for column in retired.columns]
        op.bulk_insert(retired, [dict(zip(columns, row, strict=True)) for row in rows.values()])


def _removed() -> Iterator[tuple[str, str, str, str, str, int]]:
    query = sa.text("SELECT intent FROM reconciler_ledger ORDER BY seq")
    for (intent,) in op.get_bind().execute(query):
        record = msgspec.json.decode(bytes(intent))
        for step in record["steps"]:
            for address, slot, before, after in step["changes"]:
                _, kind, key = address.split("/", 2)
                dataset, _, version = key.partition("@")
                if (kind, slot, after) != ("tag", "manifest", None) or version in {LATEST, DEV}:
                    continue
                namespace, _, name = dataset.partition("/")
                digest = before.removeprefix("sha256:")
                yield (namespace, name, parse_version(version).precedence, version, digest, record["time"])


def downgrade() -> None:
    """Refused: a registry's history is not undone by dropping tables; restore a backup."""
    raise NotImplementedError
