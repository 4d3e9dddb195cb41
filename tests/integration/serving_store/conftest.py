"""The worlds that most tests of the serving store start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.serving_store.world import H110, H111, M110, Wish, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).building(H110, H111, M110)


@pytest.fixture
def listed(world: World) -> World:
    world.reconcile(Wish(listed=(H110, H111), latest=H111))
    return world
