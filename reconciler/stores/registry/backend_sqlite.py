"""SQLite under the registry: one file, one writer at a time, nothing lost when the power goes.

Decides how the file is opened. Every write starts with BEGIN IMMEDIATE, so a writer waits for the one
before instead of failing half-way; `synchronous=FULL`, `foreign_keys=ON`. The journal is always a rollback
journal, never a write-ahead log: no library below 3.51.3 is safe with one, and the file's change counter
then tells every commit apart, which makes `revision` cheap.

A network file system is refused, because its locks cannot be trusted (E_STORE_FS), and so is a symbolic
link. A connection is never used across a fork.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import quote

from reconciler.errors import Conflict, Corrupt, ReconcilerError, Unavailable
from reconciler.failpoints import failpoint
from reconciler.stores.registry.migrate import VERSION_TABLE, not_ours, upgrade
from reconciler.stores.registry.session import NoAnswer, Row
from reconciler.stores.registry.statements import TEMPORARY, temporary_tables

_LOWEST: Final = (3, 35, 0)
_MOUNTS: Final = "/proc/self/mountinfo"
_NETWORK: Final = frozenset(
    ["9p", "afs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "gpfs"]
) | frozenset(["lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"])
_CHANGE_COUNTER: Final = slice(24, 28)


def open_sqlite(path: str, *, timeout: float, mounts: str = _MOUNTS) -> SqliteDatabase:
    """A registry database in one file, which need not be there yet.

    Args:
        path: the file.
        timeout: seconds to wait for another writer.
        mounts: where the kernel lists the mounted file systems.

    Raises:
        Unavailable: E_STORE_FS, E_STORE_LINK or E_STORE_VERSION.
    """
    if sqlite3.sqlite_version_info < _LOWEST:
        raise Unavailable.of(
            "E_STORE_VERSION",
            f"SQLite {'.'.join(map(str, _LOWEST))} or newer is needed",
            got=sqlite3.sqlite_version,
            fix="use a Python with a newer SQLite",
        )
    kind = mounted_kind(os.path.realpath(path), mounts)
    if kind in _NETWORK:
        raise Unavailable.of(
            "E_STORE_FS",
            "SQLite's locks cannot be trusted on a network file system",
            path=path,
            got=kind,
            fix="put the file on a local disk, or use PostgreSQL",
        )
    return SqliteDatabase(path, timeout)


def mounted_kind(path: str, mounts: str = _MOUNTS) -> str:
    """The kind of the file system that a path is on, as the kernel lists it; empty where it lists none."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    found = ""
    best = ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, found = point, rest.split()[0]
    return found


class SqliteDatabase:
    """One file behind the registry; see `session.Database`."""

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._process = 0

    @property
    def where(self) -> str:
        """Its place, for errors."""
        return f"sqlite:{self._path}"

    def version(self) -> str | None:
        """The migration its tables are at; None if there is no file, or an empty one."""
        if not self._stands():
            return None
        with self.reading() as session:
            tables = {row[0] for row in session.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return None
            if VERSION_TABLE not in tables:
                raise not_ours(self.where)
            found = session.rows(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
        return str(found[0][0]) if found else None

    def _stands(self) -> bool:
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable.of(
                "E_IO", f"the database cannot be reached: {error.strerror}", path=self.where
            ) from error
        if not stat.S_ISREG(mode):
            raise Unavailable.of(
                "E_STORE_LINK",
                "the database is not a plain file",
                path=self.where,
                fix="a registry's file is no symbolic link and no device",
            )
        return True

    def migrate(self) -> None:
        """Bring the tables to the head, creating the file and its directory where they are missing."""
        self.close()
        with _faults(self.where):
            os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
            self.version()  # refuses a file of another program before anything is written
            self.close()
            upgrade(
                dialect="sqlite+pysqlite",
                connect=lambda: self._open("rwc"),
                begin="BEGIN IMMEDIATE",
                where=self.where,
            )

    def revision(self) -> str:
        """The file's change counter: SQLite raises it with every commit."""
        try:
            with open(self._path, "rb") as file:
                return file.read(_CHANGE_COUNTER.stop)[_CHANGE_COUNTER].hex()
        except OSError as error:
            raise Unavailable.of(
                "E_IO", f"the database cannot be read: {error.strerror}", path=self.where
            ) from error

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.close()

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(os.path.abspath(self._path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=self._timeout,
            check_same_thread=False,
        )
        for pragma in ("foreign_keys = ON", "synchronous = FULL", "temp_store = MEMORY", "mmap_size = 0"):
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    def _ready(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():
            connection = self._open("rw")
            for statement in temporary_tables(collation="", tail=""):
                connection.execute(statement).close()
            self._connection, self._process = connection, os.getpid()
        return self._connection

    @contextmanager
    def reading(self) -> Iterator[SqliteSession]:
        """One consistent reading."""
        with _faults(self.where):
            connection = self._ready()
            connection.execute("BEGIN").close()
            try:
                yield SqliteSession(connection)
            finally:
                _undo(connection)

    @contextmanager
    def writing(self) -> Iterator[SqliteSession]:
        """One exclusive transaction."""
        with _faults(self.where):
            connection = self._ready()
            failpoint("reg.begin")
            connection.execute("BEGIN IMMEDIATE").close()
            try:
                yield SqliteSession(connection)
                failpoint("reg.commit.before")
            except BaseException:
                _undo(connection)
                raise
            self._commit(connection)

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT").close()
            failpoint("reg.commit.answer")
        except sqlite3.OperationalError as error:
            if _primary(error) == sqlite3.SQLITE_BUSY:  # a reader never let go: nothing was written
                _undo(connection)
                raise
            self.close()
            raise NoAnswer from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise NoAnswer from error


def _undo(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK").close()


class SqliteSession:
    """One transaction; see `session.Session`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        failpoint("reg.statement")
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Do a statement; the number of rows it changed."""
        failpoint("reg.statement")
        return self._connection.execute(sql, values).rowcount

    def load(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        """Replace what a temporary table holds."""
        failpoint("reg.statement")
        self._connection.execute(f"DELETE FROM temp.{table}").close()  # noqa: S608 - a name of ours
        places = ", ".join("?" * len(TEMPORARY[table]))
        self._connection.executemany(f"INSERT INTO temp.{table} VALUES ({places})", rows)  # noqa: S608

    def now(self) -> int:
        """The clock of the machine that the file is on."""
        return int(self.rows("SELECT CAST(strftime('%s', 'now') AS INTEGER)")[0][0])


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _faults(where: str) -> Iterator[None]:
    """Turn whatever the driver throws into an error of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _error(error, where) from error
    except OSError as error:
        raise Unavailable.of(
            "E_IO", f"the database could not be used: {error.strerror}", path=where, fix="repair it and retry"
        ) from error


def _error(error: sqlite3.Error, where: str) -> ReconcilerError:
    code = _primary(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Conflict.of(
            "E_LOCKED",
            "another writer holds the registry",
            path=where,
            fix="wait for it, or raise --lock-timeout",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt.of(
            "E_DATABASE", "the file is no sound SQLite database", path=where, fix="restore it from a backup"
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict.of(
            "E_CONFLICT", "a writer that takes no lock came in between", path=where, fix="plan again"
        )
    if code == sqlite3.SQLITE_READONLY:
        return Unavailable.of(
            "E_STORE_READONLY", "the database cannot be written", path=where, fix="check its permissions"
        )
    reason = getattr(error, "sqlite_errorname", type(error).__name__)
    return Unavailable.of("E_IO", f"SQLite answered: {reason}", path=where, fix="repair it and retry")
