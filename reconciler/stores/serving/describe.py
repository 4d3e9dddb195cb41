"""What is inside of a dataset, as its manifest says: genes, transcripts, contigs, bytes, schema.

Reads `manifest.json` and the size of the database of the datasets that are asked for, from the store or, of
those that a plan would publish, from their source: a build root or a pack. A manifest that is not the
declared one, or cannot be read, is a problem of that dataset alone. Writes nothing; the bytes of the
database are never read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from reconciler.canonical import sha256_digest
from reconciler.contents import Content, Look
from reconciler.errors import Problem, ReconcilerError, Unavailable
from reconciler.model import DatasetId
from reconciler.stores.serving import source
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.durable import store_faults
from reconciler.stores.serving.files import open_dir
from reconciler.stores.serving.manifest import Manifest, parse_manifest

SCHEMA_MEMBERS: Final = (
    "manifest_version",
    "schema_version",
    "db_schema_version",
    "artifact_version",
    "model_version",
    "canonical_model_schema_version",
    "canonical_feature_counts",
    "derived_column_origins",
    "contig_naming_style",
    "coordinate_system",
    "sharding_plan",
    "schema_evolution_note",
    "ingest_toolchain",
    "build_policy_version",
)
"""What of a manifest is compared field by field: how it was built and how it is read, never its hashes."""

_FACTS: Final = ("gene", "transcript")
"""Feature kinds whose counts are facts already."""


def describe(
    root: int | None, where: str, base: Path, looks: Sequence[Look]
) -> Iterator[tuple[Look, Content]]:
    """One content for each look, in the order asked.

    Args:
        root: an open descriptor of the store's root; None while there is no store.
        where: how problems name it.
        base: the directory that sources start from.
        looks: what to look into.
    """
    for look in looks:
        dataset = DatasetId(*look.address.key.split("/"))
        try:
            found = source.head(base, look.source, dataset) if look.source else _live(root, where, dataset)
            yield look, _content(look, *found, look.source or where)
        except ReconcilerError as error:
            yield look, Content(address=look.address, facts={}, problems=error.problems)


def _live(root: int | None, where: str, dataset: DatasetId) -> tuple[bytes, int]:
    """The manifest and the size of the database of a dataset in the store."""
    if root is not None:
        with store_faults(where):
            handle = open_dir(root, dataset_path(dataset), where)
            if handle is not None:
                try:
                    return source.manifest_and_size(handle, where)
                finally:
                    os.close(handle)
    raise Unavailable.of(
        "E_SOURCE_MISSING",
        "the store does not hold this dataset, and no source is given",
        path=where,
        got=str(dataset),
        fix="give its source, or publish it",
    )


def _content(look: Look, data: bytes, size: int, where: str) -> Content:
    digest = sha256_digest(data)
    if look.digest and digest != look.digest:
        problem = Problem(
            code="E_SOURCE_MANIFEST",
            message="the manifest is not the declared one",
            path=where,
            got=digest,
            fix="rebuild the source, or declare its digest",
        )
        return Content(address=look.address, facts={}, problems=(problem,))
    manifest = parse_manifest(data, where)
    return Content(address=look.address, facts=_facts(manifest, size), document=_schema(manifest))


def _facts(manifest: Manifest, size: int) -> dict[str, int | str]:
    stats = manifest.stats
    return {
        "genes": stats.gene_count,
        "transcripts": stats.transcript_count,
        "contigs": stats.contig_count,
        "bytes": size,
        "schema": manifest.db_schema_version,
    }


def _schema(manifest: Manifest) -> dict[str, Any]:
    whole: dict[str, Any] = msgspec.to_builtins(manifest)
    features = whole["canonical_feature_counts"]
    whole["canonical_feature_counts"] = {kind: features[kind] for kind in features if kind not in _FACTS}
    return {name: whole[name] for name in SCHEMA_MEMBERS if name in whole}
