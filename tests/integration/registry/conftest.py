"""Registries on real engines: each test runs once per engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.stores.registry.backend_sqlite import open_sqlite
from reconciler.stores.registry.objects import LocalObjects
from reconciler.stores.registry.registry import Registry
from tests.integration.registry.world import World


@pytest.fixture(params=["sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """An empty registry that was not made yet."""
    path, objects = str(tmp_path / "db/registry.db"), str(tmp_path / "manifests")
    return World(
        request.param, lambda timeout: open_sqlite(path, timeout=timeout), lambda: LocalObjects(objects)
    )


@pytest.fixture
def registry(world: World) -> Iterator[Registry]:
    """A handle on it."""
    opened = world.open()
    yield opened
    opened.close()
