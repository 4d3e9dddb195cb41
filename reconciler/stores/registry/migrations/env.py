"""Where Alembic starts: it migrates on the connection that it is given, in the caller's transaction.

Decides nothing. `reconciler.stores.registry.migrate` opens the connection, takes the lock and commits.
"""

from __future__ import annotations

from alembic import context

from reconciler.stores.registry.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
