"""Registries on real engines: each test runs once per engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stores.registry.backend_postgres import open_postgres
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import LocalObjects
from reconciler.stores.registry.registry import Registry
from tests.integration.registry.world import World
from tests.servers.postgres import PostgresServer, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test run."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An empty registry that was not made yet."""
    objects = str(tmp_path / "manifests")
    if request.param == "sqlite":
        path = str(tmp_path / "db/registry.db")
        made = World("sqlite", lambda wait: open_sqlite(path, timeout=wait), lambda: LocalObjects(objects))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        place = server.create_database()
        made = World(
            "postgres", lambda wait: open_postgres(place, timeout=wait), lambda: LocalObjects(objects)
        )
    yield made
    for opened in made.opened:
        opened.close()


@pytest.fixture
def registry(world: World) -> Registry:
    """A handle on it."""
    return world.open()
