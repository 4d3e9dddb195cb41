"""The registry keeps the contract, on SQLite, and on the PostgreSQL and S3 servers that this run starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg
import pytest

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

    def __init__(self, base: Path, endpoint: str) -> None:
        super().__init__(base)
        self._endpoint = endpoint
        self._bucket = s3.bucket_client(endpoint)

    @property
    def objects_location(self) -> str:
        """The prefix."""
        return f"s3://{s3.BUCKET}{self.objects}"

    @property
    def reached(self) -> Mapping[str, object]:
        """The server of this run, without TLS."""
        return {"endpoint": self._endpoint, "allowPrivate": True}

    @property
    def variables(self) -> Mapping[str, str]:
        """Credentials that it takes."""
        return {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": s3.SECRET}

    def fresh(self) -> Self:
        """Another registry, empty."""
        return self.following(type(self)(self._all, self._endpoint))

    def kept(self) -> Mapping[str, bytes]:
        """Every object by its key, as another client reads it."""
        found = self._bucket.list_objects_v2(Bucket=s3.BUCKET, Prefix=self._key("")).get("Contents", [])
        keys = [item["Key"].removeprefix(self._key("")) for item in found]
        return {key: self._content(key) for key in keys if not key.startswith(".reconciler/")}

    def overwrite(self, key: str, content: bytes) -> None:
        """Put other bytes under a key, as no registry would."""
        self._bucket.put_object(Bucket=s3.BUCKET, Key=self._key(key), Body=content)

    def _content(self, key: str) -> bytes:
        content: bytes = self._bucket.get_object(Bucket=s3.BUCKET, Key=self._key(key))["Body"].read()
        return content

    def _key(self, name: str) -> str:
        return f"{str(self.objects).lstrip('/')}/{name}"


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
    def harness(self, tmp_path: Path, endpoint: str) -> Iterator[S3Harness]:
        harness = S3Harness(tmp_path, endpoint)
        yield harness
        harness.close()
