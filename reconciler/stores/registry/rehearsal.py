"""A registry in which every write is tried and then undone: what a dry run of an operation by hand uses.

Decides nothing: the operation runs in a real transaction with all its checks, under the writer lock, and the
transaction is rolled back instead of committed. Objects are neither put nor deleted. Where no registry
exists yet, the rehearsal takes place in a temporary one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from reconciler.reference import ManifestHash
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import Objects, StoredObject
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.session import Database, Session


class _Undone(Exception):
    """The rehearsed transaction is over."""


class RehearsedDatabase:
    """A database whose transactions are never committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def where(self) -> str:
        """Its place, for errors."""
        return self._database.where

    def version(self) -> str | None:
        """The migration that its tables are at."""
        return self._database.version()

    def migrate(self) -> None:
        """Never called: a rehearsal only takes place where the tables are."""
        raise NotImplementedError

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent reading."""
        with self._database.reading() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One exclusive transaction, undone at its end."""
        try:
            with self._database.writing() as session:
                yield session
                raise _Undone  # noqa: TRY301 - this is how the transaction is left
        except _Undone:
            return

    def revision(self) -> str:
        """As the database says."""
        return self._database.revision()

    def close(self) -> None:
        """Let go of the connection."""
        self._database.close()


class RehearsedObjects:
    """Objects that are read and never written."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.where = objects.where

    def put(self, manifest: ManifestHash, content: bytes) -> None:
        """Nothing."""

    def get(self, manifest: ManifestHash) -> bytes | None:
        """The bytes, compared with their hash."""
        return self._objects.get(manifest)

    def exists(self, manifest: ManifestHash) -> bool:
        """Whether an object stands under the key."""
        return self._objects.exists(manifest)

    def delete(self, manifest: ManifestHash) -> None:
        """Nothing."""

    def list(self) -> Iterator[StoredObject]:
        """All objects."""
        return self._objects.list()

    def hashes(self) -> frozenset[ManifestHash]:
        """The hashes of all objects."""
        return self._objects.hashes()

    def stored_at(self, manifest: ManifestHash) -> int | None:
        """When the store took the object in."""
        return self._objects.stored_at(manifest)

    def now(self) -> int:
        """The store's own clock."""
        return self._objects.now()

    def litter(self, grace: int) -> tuple[str, ...]:
        """What killed writers left there."""
        return self._objects.litter(grace)

    def remove_litter(self, name: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Let go of everything that is held."""
        self._objects.close()


@contextmanager
def rehearsed(registry: Registry) -> Iterator[Registry]:
    """A registry that looks like another one and in which no write stays."""
    import tempfile  # noqa: PLC0415 - only dry runs pay for it

    settings = registry.settings
    with tempfile.TemporaryDirectory() as directory:
        database = settings.database
        nowhere = database.version() is None
        if nowhere:
            database = open_sqlite(f"{directory}/registry.db", timeout=0)
            database.migrate()
        try:
            yield Registry(
                replace(
                    settings,
                    database=RehearsedDatabase(database),
                    objects=RehearsedObjects(settings.objects),
                )
            )
        finally:
            if nowhere:
                database.close()
