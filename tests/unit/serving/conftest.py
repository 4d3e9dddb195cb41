"""Datasets on disk: a complete build root and a published dataset, built by the shipped samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.model import DatasetId
from reconciler.stores.serving.contents import dataset_path
from reconciler.testing.samples import Sharding, Stage, build_root, minimal_dataset
from tests.unit.serving.examples import FASTA, GFF3, HUMAN, descriptor


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """The directory of a complete, sharded build root of HUMAN."""
    (tmp_path / "genes.gff3").write_text(GFF3)
    (tmp_path / "genome.fa").write_text(FASTA)
    return build_root(
        tmp_path / "build",
        dataset=HUMAN,
        gff3=tmp_path / "genes.gff3",
        fasta=tmp_path / "genome.fa",
        sharding=Sharding.CONTIG,
    ).directory


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The directory of HUMAN in a store, as the reference's publish leaves it."""
    minimal_dataset(tmp_path / "store", HUMAN, stage=Stage.PUBLISHED)
    return tmp_path / "store" / dataset_path(HUMAN)


@pytest.fixture
def other(tmp_path: Path) -> Callable[[DatasetId], Path]:
    """Makes another published dataset and gives its directory."""

    def make(dataset: DatasetId) -> Path:
        minimal_dataset(tmp_path / "store", dataset, stage=Stage.PUBLISHED)
        return tmp_path / "store" / dataset_path(dataset)

    return make


@pytest.fixture
def published_fd(published: Path) -> Iterator[int]:
    """A descriptor of the published dataset's directory."""
    with descriptor(published) as handle:
        yield handle


@pytest.fixture
def built_fd(built: Path) -> Iterator[int]:
    """A descriptor of the build root's dataset directory."""
    with descriptor(built) as handle:
        yield handle
