"""The packets of releases beside the ledger that they follow from, and the mark of a restored registry.

A packet is the index of a release's evidence; it can be made again from the ledger, and is never replaced.
This module is frozen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _bytewise() -> TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "registry_restored",
        sa.Column("backup", _bytewise(), nullable=False),
        sa.PrimaryKeyConstraint("backup", name="pk_registry_restored"),
    )
    op.create_table(
        "reconciler_packets",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("packet", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_reconciler_packets"),
        sa.ForeignKeyConstraint(
            ["seq"], ["reconciler_ledger.seq"], name="fk_reconciler_packets_seq", ondelete="RESTRICT"
        ),
    )


def downgrade() -> None:
    """Refused: evidence is not undone by dropping tables; restore a backup."""
    raise NotImplementedError
