"""The reference's promotion, step by step and without a lock, to show what it loses (contract 3.3, 8.1).

The steps and their order are the reference's: look whether both files are there, read the catalog, append
an entry unless the dataset has one, sort, write the whole catalog under one fixed temporary name, rename.
Nothing between reading and renaming keeps another writer out. It exists only here, as a peer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reconciler.canonical import canonical
from reconciler.model import DatasetId
from reconciler.stores.serving.documents import dataset_members


def promote(store: Path, dataset: DatasetId) -> None:
    """Promote one dataset as the reference does.

    Raises:
        OSError: a file is missing, or another writer renamed the temporary file away.
        ValueError: the catalog was half written when it was read.
    """
    release, species, assembly = dataset
    derived = f"release={release}/species={species}/assembly={assembly}/derived"
    paths = {"manifest_path": f"{derived}/manifest.json", "sqlite_path": f"{derived}/gene_summary.sqlite"}
    for path in paths.values():
        if not (store / path).exists():
            raise FileNotFoundError(path)
    catalog = store / "catalog.json"
    entries: list[dict[str, Any]] = json.loads(catalog.read_bytes())["datasets"] if catalog.exists() else []
    members = dataset_members(dataset)
    if all(entry["dataset"] != members for entry in entries):
        entries.append({"dataset": members, **paths})
    entries.sort(key=lambda entry: [entry["dataset"][part] for part in ("release", "species", "assembly")])
    fixed = store / "catalog.json.tmp"
    fixed.write_bytes(canonical({"datasets": entries, "model_version": "v1"}))
    fixed.rename(catalog)
