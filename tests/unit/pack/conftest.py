"""A small dataset and its pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.stores.serving.contents import dataset_path
from reconciler.testing.samples import minimal_dataset
from tests.unit.pack.packs import ID, packed


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    minimal_dataset(tmp_path / "build", ID)
    return tmp_path / "build" / dataset_path(ID)


@pytest.fixture
def pack(directory: Path) -> bytes:
    return packed(directory)[0]
