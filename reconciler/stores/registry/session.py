"""What the registry asks of a database: one transaction at a time, in SQL that both engines understand.

A `Session` lives inside one transaction. Statements use `?` for values and standard SQL that SQLite and
PostgreSQL share (upserts, UPDATE … FROM, window functions); only bulk loading, the clock, locks and error
classes differ, and those are behind `Database`.

- `Database.reading` is one consistent reading that sees no half of another's commit.
- `Database.writing` holds the registry's one writer lock from its first statement to its commit. The
  ledger is a chain, so writers are serial anyway; taking the lock first makes every statement see what
  the writer before committed, which is what the reference lacks (contract section 9, W2 to W4).

Whatever a driver throws leaves as one of our errors; a COMMIT without an answer leaves as `NoAnswer`,
for the registry to look what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

HEAD: Final = "0004"
"""The migration that the statements are written for."""

Row = tuple[Any, ...]


class NoAnswer(Exception):
    """A COMMIT was sent and no answer came: it may or may not have landed. Never leaves the registry."""


class Session(Protocol):
    """One open transaction."""

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Do a statement; the number of rows it changed."""

    def load(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        """Fill one of the temporary tables in bulk, once in a transaction."""

    def now(self) -> int:
        """The database's own clock, in Unix seconds."""


class Database(Protocol):
    """One engine behind the registry."""

    @property
    def where(self) -> str:
        """Its place, for errors; never holds a secret."""

    def version(self) -> str | None:
        """The migration that its tables are at; None if there is no registry at all.

        Raises:
            Unavailable: it cannot be reached or read, or belongs to another program.
        """

    def migrate(self) -> None:
        """Bring the tables to `HEAD`, creating what is missing."""

    def reading(self) -> AbstractContextManager[Session]:
        """One consistent reading."""

    def writing(self) -> AbstractContextManager[Session]:
        """One exclusive transaction, committed when the block ends and undone when it raises.

        Raises:
            Conflict: E_LOCKED, another writer held the registry for too long.
            NoAnswer: the COMMIT may or may not have landed.
        """

    def revision(self) -> str:
        """A cheap token that differs after every commit that changed a row."""

    def close(self) -> None:
        """Let go of the connection."""


class NothingThere:
    """The session of a registry that was not made yet: every query is empty."""

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:  # noqa: ARG002
        """No rows."""
        return []

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Never called: only readings happen where nothing is."""
        raise NotImplementedError(sql, values)

    def load(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        """Loading for a query that finds nothing."""

    def now(self) -> int:
        """The beginning of time: nothing has an age."""
        return 0
