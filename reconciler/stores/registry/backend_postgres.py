"""PostgreSQL under the registry: the same statements, one writer lock, COPY for everything in bulk.

Decides how the server is used. A writer takes an advisory lock with its first statement and works in READ
COMMITTED, so every later statement sees what the writer before committed; the lock goes with the
transaction, whatever becomes of the process. A reading is one REPEATABLE READ snapshot. Tables are found
in the connection's first schema, so a database may hold several registries.

Refused are servers below 15 and read-only replicas, at the first connection. The location may carry a
password: it is given to the driver and never shown, and neither is the server's own prose.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import Conflict, Corrupt, InvalidInput, ReconcilerError, Unavailable
from reconciler.failpoints import failpoint
from reconciler.stores.registry.migrate import VERSION_TABLE, not_ours, upgrade
from reconciler.stores.registry.session import NoAnswer, Row
from reconciler.stores.registry.statements import (
    FLAG,
    NUMBER,
    TEMPORARY,
    TEXT,
    temporary_tables,
)

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Row]

_LOWEST: Final = 15
_CONNECT_SECONDS: Final = 10
_MANY: Final = 1000
_COPY_TYPES: Final = {TEXT: "text", NUMBER: "int8", FLAG: "bool"}
_LOCK: Final = (
    "SELECT pg_advisory_xact_lock(hashtextextended('reconciler ' || COALESCE(current_schema(), ''), 0))"
)
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_STATE: Final = """
SELECT current_setting('server_version_num')::int / 10000,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
    CASE current_setting('synchronous_commit')
        WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


def open_postgres(location: str, *, timeout: float) -> PostgresDatabase:
    """A registry database on a server; nothing is asked of it yet.

    Args:
        location: `postgresql://…`, as libpq reads it.
        timeout: seconds to wait for another writer.

    Raises:
        InvalidInput: E_STORE_LOCATION, this is no such location.
        Unavailable: E_STORE_DRIVER, the driver is not installed.
    """
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415 - slow, and an extra
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable.of(
            "E_STORE_DRIVER",
            "the PostgreSQL driver is not installed",
            fix="install reconciler with its extra: pip install 'reconciler[postgres]'",
        ) from error
    try:
        parts = conninfo_to_dict(location)
    except ProgrammingError:  # its text may hold the password
        raise InvalidInput.of(
            "E_STORE_LOCATION",
            "this is not the location of a PostgreSQL database",
            fix="postgresql://USER@HOST:PORT/DATABASE, or {env: VARIABLE} that holds it",
        ) from None
    where = f"postgresql:{parts.get('host', '')}/{parts.get('dbname', '')}"
    return PostgresDatabase(location, where, timeout)


class PostgresDatabase:
    """One schema of one server behind the registry; see `session.Database`."""

    def __init__(self, location: str, where: str, timeout: float) -> None:
        self._location = location
        self._where = where
        self._timeout = timeout
        self._connection: Connection | None = None
        self._process = 0
        self._filled: dict[str, int] | None = None

    @property
    def where(self) -> str:
        """Its place, for errors: host and database only."""
        return self._where

    def version(self) -> str | None:
        """The migration its tables are at; None if the schema is empty."""
        with self.reading() as session:
            tables = {row[0] for row in session.rows(_TABLES)}
            if not tables:
                return None
            if VERSION_TABLE not in tables:
                raise not_ours(self.where)
            found = session.rows(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
        return str(found[0][0]) if found else None

    def migrate(self) -> None:
        """Bring the tables to the head, creating them in the first schema."""
        self.version()  # refuses a schema of another program before anything is written
        with self._faults():
            upgrade(dialect="postgresql+psycopg", connect=self._connect, begin=_LOCK, where=self.where)

    def revision(self) -> str:
        """The number of statements that changed rows; triggers count them, whoever wrote."""
        with self.reading() as session:
            return str(session.rows("SELECT generation FROM registry_generation")[0][0])

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.close()

    def _connect(self) -> Connection:
        import psycopg  # noqa: PLC0415 - slow, and an extra

        return psycopg.connect(
            self._location, connect_timeout=_CONNECT_SECONDS, application_name="reconciler"
        )

    def _ready(self) -> Connection:
        if self._connection is not None and self._process != os.getpid():
            self._connection = None  # the parent's: not ours to use, and not ours to close
        if self._connection is None or self._connection.closed:
            connection = self._connect()
            connection.autocommit = True
            try:
                self._check(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._process, self._filled = connection, os.getpid(), None
        return self._connection

    def _ready_to_write(self) -> tuple[Connection, dict[str, int]]:
        """The connection with its temporary tables, and how many rows each was last filled with."""
        connection = self._ready()
        if self._filled is None:
            for statement in temporary_tables(collation=' COLLATE "C"', tail=""):
                connection.execute(statement.encode())
            self._filled = {}
        return connection, self._filled

    def _check(self, connection: Connection) -> None:
        major, read_only, _ = connection.execute(_STATE).fetchall()[0]
        if major < _LOWEST:
            raise Unavailable.of(
                "E_STORE_VERSION",
                f"PostgreSQL {_LOWEST} or newer is needed",
                path=self.where,
                got=str(major),
                fix="upgrade the server",
            )
        if read_only:
            raise Unavailable.of(
                "E_STORE_READONLY",
                "the server is a read-only replica, or its transactions are read-only",
                path=self.where,
                fix="give the location of the primary",
            )

    @contextmanager
    def reading(self) -> Iterator[PostgresSession]:
        """One consistent reading."""
        with self._faults():
            connection = self._ready()
            connection.execute(_READ)
            try:
                yield PostgresSession(connection, {})
            finally:
                _undo(connection)

    @contextmanager
    def writing(self) -> Iterator[PostgresSession]:
        """One exclusive transaction."""
        with self._faults():
            connection, filled = self._ready_to_write()
            failpoint("reg.begin")
            connection.execute(_WRITE)
            try:
                milliseconds = str(max(1, int(self._timeout * 1000)))
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (milliseconds,))
                connection.execute(_LOCK)
                yield PostgresSession(connection, filled)
                failpoint("reg.commit.before")
            except BaseException:
                _undo(connection)
                raise
            self._commit(connection)

    def _commit(self, connection: Connection) -> None:
        import psycopg  # noqa: PLC0415 - slow, and an extra

        try:
            connection.execute("COMMIT")
            failpoint("reg.commit.answer")
        except psycopg.Error as error:
            if not connection.closed:  # the server itself said no
                _undo(connection)
                raise
            self.close()
            raise NoAnswer from error
        except OSError as error:
            self.close()
            raise NoAnswer from error

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn whatever the driver throws into an error of ours."""
        import psycopg  # noqa: PLC0415 - slow, and an extra

        try:
            yield
        except psycopg.Error as error:
            raise _error(error.sqlstate, self.where) from error
        except OSError as error:
            raise Unavailable.of(
                "E_IO",
                f"the database could not be used: {error.strerror}",
                path=self.where,
                fix="retry later",
            ) from error


def _undo(connection: Connection) -> None:
    import psycopg  # noqa: PLC0415 - slow, and an extra

    if not connection.closed:
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")


@lru_cache(maxsize=256)
def _spelled(sql: str) -> bytes:
    """A statement with the driver's own sign for a value."""
    return sql.replace("?", "%s").encode()


class PostgresSession:
    """One transaction; see `session.Session`."""

    def __init__(self, connection: Connection, filled: dict[str, int]) -> None:
        self._connection = connection
        self._filled = filled

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        failpoint("reg.statement")
        return self._connection.execute(_spelled(sql), values or None).fetchall()

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Do a statement; the number of rows it changed."""
        failpoint("reg.statement")
        return self._connection.execute(_spelled(sql), values or None).rowcount

    def load(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        """Replace what a temporary table holds.

        Emptying it at each commit instead would truncate four files and their indexes, which costs more than
        all the rest of a small transaction.
        """
        failpoint("reg.statement")
        count = 0
        copy_in = f"COPY pg_temp.{table} FROM STDIN (FORMAT BINARY)".encode()
        with self._connection.cursor() as cursor:
            if table in self._filled:
                emptied = "TRUNCATE" if self._filled[table] > _MANY else "DELETE FROM"
                cursor.execute(f"{emptied} pg_temp.{table}".encode())
            with cursor.copy(copy_in) as copy:
                copy.set_types([_COPY_TYPES[kind] for kind in TEMPORARY[table].values()])
                for count, row in enumerate(rows, start=1):  # noqa: B007 - the last one is the count
                    copy.write_row(row)
            self._filled[table] = count
            if count > _MANY:  # the planner knows nothing of a table that was just filled
                cursor.execute(f"ANALYZE pg_temp.{table}".encode())

    def now(self) -> int:
        """The server's clock."""
        return int(self.rows("SELECT CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)")[0][0])


_CLASSES: Final[dict[str, tuple[type[ReconcilerError], str, str, str]]] = {
    "55P03": (
        Conflict,
        "E_LOCKED",
        "another writer holds the registry",
        "wait for it, or raise --lock-timeout",
    ),
    "25006": (
        Unavailable,
        "E_STORE_READONLY",
        "the database cannot be written",
        "give the location of the primary",
    ),
    "42501": (Unavailable, "E_STORE_AUTH", "the database refuses these rights", "grant them to the user"),
    "23": (Conflict, "E_CONFLICT", "a writer that takes no lock came in between", "plan again"),
    "40": (Conflict, "E_CONFLICT", "the server undid the transaction for another one", "plan again"),
    "XX": (Corrupt, "E_DATABASE", "the server reports damage", "restore the database from a backup"),
    "08": (Unavailable, "E_UNREACHABLE", "the connection to the database broke", "retry later"),
    "57": (Unavailable, "E_UNREACHABLE", "the server ended the connection", "retry later"),
    "53": (Unavailable, "E_IO", "the server is out of space, memory or connections", "retry later"),
}


def _error(state: str | None, where: str) -> ReconcilerError:
    if state is None:
        return Unavailable.of(
            "E_UNREACHABLE",
            "the database cannot be reached, or refuses these credentials",
            path=where,
            fix="check the location, the credentials and the server",
        )
    found: Any = _CLASSES.get(state) or _CLASSES.get(state[:2])
    if found:
        kind, code, message, fix = found
        error: ReconcilerError = kind.of(code, message, path=where, fix=fix)
        return error
    return Unavailable.of("E_IO", f"PostgreSQL answered SQLSTATE {state}", path=where, fix="retry later")
