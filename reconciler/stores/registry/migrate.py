"""Bringing a registry's tables to the version that the program is written for, by Alembic.

Decides nothing about the tables: the steps stand in `migrations/versions`. One transaction holds the
engine's writer lock, so of two processes that create the same registry one does it and the other finds
it done. A registry that is ahead of the program is refused, never touched.

Alembic and SQLAlchemy are imported here and nowhere else at run time: they cost a third of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reconciler.errors import Unavailable
from reconciler.stores.registry.session import HEAD

VERSION_TABLE: Final = "alembic_version"
SCRIPTS: Final = "reconciler.stores.registry:migrations"


def upgrade(*, dialect: str, connect: Callable[[], Any], begin: str, where: str) -> None:
    """Create or upgrade the tables.

    Args:
        dialect: the engine's name in SQLAlchemy, such as ``sqlite+pysqlite``.
        connect: opens the driver's connection.
        begin: the statement that takes the writer lock.
        where: the database's place, for errors.

    Raises:
        Unavailable: E_SCHEMA_VERSION, the tables are ahead of this program.
        Exception: what the driver throws, for the engine's own module to translate.
    """
    from alembic import command  # noqa: PLC0415 - slow, and rarely needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    engine = create_engine(f"{dialect}://", creator=connect, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(begin)
            current = MigrationContext.configure(connection).get_current_revision()
            if current is not None and current > HEAD:
                raise behind_or_ahead(current, where)
            config = Config()
            config.set_main_option("script_location", SCRIPTS)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except DBAPIError as error:
        raise (error.orig or error) from error


def behind_or_ahead(current: str, where: str) -> Unavailable:
    """The refusal of tables that this program is not written for."""
    if current < HEAD:
        return Unavailable.of(
            "E_SCHEMA_VERSION",
            f"the registry's tables are at version {current}, this program needs {HEAD}",
            path=where,
            got=current,
            fix="run 'reconciler registry migrate'",
        )
    return Unavailable.of(
        "E_SCHEMA_VERSION",
        f"the registry's tables are at version {current}, this program knows {HEAD}",
        path=where,
        got=current,
        fix="use the newer program that migrated it",
    )


def not_ours(where: str) -> Unavailable:
    """The refusal of a database that holds tables of another program."""
    return Unavailable.of(
        "E_SCHEMA_VERSION",
        "this database holds tables, and not those of a registry of this program",
        path=where,
        fix="give the registry a database (or schema) of its own",
    )
