"""Real dataset manifests of a public project; they stand beside the checkout on some machines only."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.reference import DatasetName, parse_hash
from tests.integration.registry.world import RUN, World

MANIFESTS = Path(__file__).resolve().parents[3].parent / "shared/data/registry-manifests"
HASH_LENGTH = 64

pytestmark = pytest.mark.skipif(
    not MANIFESTS.is_dir(), reason="the public manifests do not stand beside this checkout"
)


def test_every_file_registers_resolves_and_reads_back_byte_equal(world: World) -> None:
    files = sorted(path for path in MANIFESTS.iterdir() if path.is_file())
    assert files
    with world.open() as registry:
        for number, file in enumerate(files):
            dataset = DatasetName("public", f"d{number}")
            manifest = registry.register_manifest(file.read_bytes(), run=RUN)
            registry.link_manifest(dataset, manifest, run=RUN)
            registry.set_version_tag(dataset, "1.0.0", manifest, run=RUN)
            for revision in ("latest", "dev", "1.0.0", manifest):
                resolved = registry.resolve_text(f"{dataset}@{revision}")
                assert resolved is not None
                assert registry.get_manifest(resolved.hash) == file.read_bytes()


def test_files_that_are_named_by_their_hash_keep_their_names(world: World) -> None:
    files = [path for path in MANIFESTS.iterdir() if len(path.name) == HASH_LENGTH]
    assert len(files) == 4
    with world.open() as registry:
        for file in files:
            promised = parse_hash(file.name)
            assert registry.register_manifest(file.read_bytes(), run=RUN, manifest=promised) == file.name
