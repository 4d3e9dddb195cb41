"""A new account for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.atproto.world import World
from tests.servers.pds import PdsServer


@pytest.fixture
def world(tmp_path: Path, pds: PdsServer) -> World:
    return World(tmp_path, pds, pds.account())
