"""The registry keeps the contract, on SQLite, and on the PostgreSQL and S3 servers that this run starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import obstore
import psycopg
import pytest
from obstore.store import S3Store

from reconciler.stores.registry.objects_s3 import open_s3
from reconciler.testing.contract import StoreContract
from reconciler.testing.registry_harness import RegistryHarness
from tests.servers import s3
from tests.servers.postgres import PostgresServer, running


class PostgresHarness(RegistryHarness):
    """One registry in a schema of its own."""

    def __init__(self, base: Path, server: PostgresServer) -> None:
        super().__init__(base)
        self._server = server
        self._schema = server.create_schema()

    @property
    def location(self) -> str:
        """The schema, as libpq reads it."""
        return self._schema

    def fresh(self) -> Self:
        """Another registry, empty."""
        return self.following(type(self)(self._all, self._server))

    def rows(self, query: str) -> Iterable[Sequence[object]]:
        """What the database answers to a query; nothing before it was made."""
        with psycopg.connect(self._schema) as connection:
            made = connection.execute("SELECT to_regclass('manifests')").fetchall()[0][0]
            return connection.execute(query.encode()).fetchall() if made else ()

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """A table is not where it was."""
        with psycopg.connect(self._schema, autocommit=True) as connection:
            connection.execute("ALTER TABLE manifests RENAME TO aside")
            try:
                yield
            finally:
                connection.execute("ALTER TABLE aside RENAME TO manifests")


class S3Harness(RegistryHarness):
    """One registry whose manifests are below a prefix of a bucket."""

    @property
    def objects_location(self) -> str:
        """The prefix."""
        return f"s3://{s3.BUCKET}{self.objects}"

    def kept(self) -> Mapping[str, bytes]:
        """Every object by its key."""
        keys = [stored.hash for stored in open_s3(self.objects_location).list()]
        return {key: bytes(obstore.get(self._bucket(), key).bytes()) for key in keys}

    def overwrite(self, key: str, content: bytes) -> None:
        """Put other bytes under a key, as no registry would."""
        obstore.put(self._bucket(), key, content)

    def _bucket(self) -> S3Store:
        return S3Store(s3.BUCKET, prefix=str(self.objects).lstrip("/"))


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """An S3 server of this test run."""
    with s3.running() as address:
        yield address


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test run."""
    with running() as server:
        yield server


class TestRegistryOnSqlite(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[RegistryHarness]:
        harness = RegistryHarness(tmp_path)
        yield harness
        harness.close()


class TestRegistryOnPostgres(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, postgres: PostgresServer) -> Iterator[PostgresHarness]:
        harness = PostgresHarness(tmp_path, postgres)
        yield harness
        harness.close()


class TestRegistryWithS3(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Harness]:
        for name, value in s3.options(endpoint).items():
            monkeypatch.setenv(f"AWS_{name.upper()}", value)
        harness = S3Harness(tmp_path)
        yield harness
        harness.close()
