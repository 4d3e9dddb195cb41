"""An account on the PDS that this run starts keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.testing.atproto_harness import AtprotoHarness
from reconciler.testing.contract import StoreContract
from tests.servers.pds import PdsServer


class TestAtproto(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path, pds: PdsServer) -> Iterator[AtprotoHarness]:
        harness = AtprotoHarness(tmp_path, pds)
        yield harness
        harness.close()
