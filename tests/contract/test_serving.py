"""The serving store keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.testing.contract import StoreContract
from reconciler.testing.serving_harness import ServingHarness


class TestServing(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> ServingHarness:
        return ServingHarness(tmp_path)
