"""The registry keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.testing.contract import StoreContract
from reconciler.testing.registry_harness import RegistryHarness


class TestRegistry(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> RegistryHarness:
        return RegistryHarness(tmp_path)
