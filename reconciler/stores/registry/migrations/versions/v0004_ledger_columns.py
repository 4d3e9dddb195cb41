"""When each ledger record was written, by the database's clock; and which ones say what is protected.

Records that stand already were written at the latest now; a soak time is never said to be over too early.
This module is frozen.
"""

from __future__ import annotations

import msgspec
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
    """Add the columns, and fill them."""
    op.add_column("reconciler_ledger", sa.Column("closed_at", sa.BigInteger))
    op.add_column("reconciler_ledger", sa.Column("protects", sa.Boolean))
    op.create_index(
        "ix_reconciler_ledger_protects",
        "reconciler_ledger",
        ["protects"],
        sqlite_where=sa.text("protects"),
        postgresql_where=sa.text("protects"),
    )
    bind = op.get_bind()
    records = bind.execute(sa.text("SELECT seq, intent FROM reconciler_ledger")).all()
    protecting = {seq for seq, intent in records if "protection" in msgspec.json.decode(bytes(intent))}
    now = bind.execute(sa.text(f"SELECT {_NOW[bind.dialect.name]}")).scalar()
    fill = sa.text("UPDATE reconciler_ledger SET closed_at = :now, protects = :protects WHERE seq = :seq")
    for seq, _ in records:
        bind.execute(fill, {"now": now, "protects": seq in protecting, "seq": seq})


def downgrade() -> None:
    """Refused: evidence is not undone by dropping columns; restore a backup."""
    raise NotImplementedError
