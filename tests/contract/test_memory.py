"""The memory store keeps the contract."""

from __future__ import annotations

import pytest

from reconciler.testing.contract import StoreContract
from reconciler.testing.memory_harness import MemoryHarness


class TestMemory(StoreContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
