"""Registries on real engines: each test runs once per engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.stores.registry.backend_postgres import open_postgres
from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import LocalObjects
from reconciler.stores.registry.registry import Registry
from reconciler.stores.registry.session import Database
from tests.integration.registry.world import World
from tests.servers.postgres import PostgresServer, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test run."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], World]]:
    """Makes empty registries of one engine; none of them was made yet."""
    made: list[World] = []

    def make() -> World:
        base = tmp_path / str(len(made))
        opener: Callable[..., Database]
        if request.param == "sqlite":
            place, opener = str(base / "registry.db"), open_sqlite
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            place, opener = server.create_schema(), open_postgres
        world = World(
            request.param,
            place,
            lambda wait: opener(place, timeout=wait),
            lambda: LocalObjects(str(base / "manifests")),
        )
        made.append(world)
        return world

    yield make
    for world in made:
        for opened in world.opened:
            opened.close()


@pytest.fixture
def world(another: Callable[[], World]) -> World:
    """An empty registry that was not made yet."""
    return another()


@pytest.fixture
def registry(world: World) -> Registry:
    """A handle on it."""
    return world.open()
