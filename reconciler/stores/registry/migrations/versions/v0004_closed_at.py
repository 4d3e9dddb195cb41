"""When each ledger record was written, by the database's clock, for soak times.

Records that stand already were written at the latest now; a soak time is never said to be over too early.
This module is frozen.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NOW = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)",
}


def upgrade() -> None:
    """Add the column, and fill it."""
    op.add_column("reconciler_ledger", sa.Column("closed_at", sa.BigInteger))
    op.execute(f"UPDATE reconciler_ledger SET closed_at = {_NOW[op.get_bind().dialect.name]}")  # noqa: S608


def downgrade() -> None:
    """Refused: evidence is not undone by dropping columns; restore a backup."""
    raise NotImplementedError
