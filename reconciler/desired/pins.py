"""Pins: which datasets and artifacts may be promoted, and are kept by garbage collection.

They are written in `Pins` documents, in the reference's `ops/inventory/pins.yaml` and in its
`gc-pins.json` (the serving store's contract 5.4). A form that the reference would have ignored in silence
is refused here: a pin that does not count is worse than none.

Pins are desired state and come from the planned commit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from reconciler.canonical import parse_strict
from reconciler.desired.draft import Draft
from reconciler.desired.tree import DIRECTORY, Tree
from reconciler.desired.yaml_guard import Document, parse
from reconciler.errors import InvalidInput
from reconciler.governance import Pins
from reconciler.model import DatasetId, dataset_id_problem

PINS_FILE: Final = "ops/inventory/pins.yaml"
GC_PINS_FILE: Final = "ops/inventory/gc-pins.json"
MANIFEST_FILE: Final = "ops/datasets/manifest.json"
_LIMIT: Final = 5_000_000
_HEX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)
_KEY_STRING: Final = re.compile(r"release=([^&]*)&species=([^&]*)&assembly=([^&]*)", re.ASCII)
_GC_MEMBERS: Final = frozenset({"dataset_ids", "artifact_hashes"})


def add_pins(document: Document, draft: Draft) -> None:
    """Add one `Pins` document to the draft."""
    root = document.root
    draft.describe(document.path, root.get("meta"))
    for index, text in enumerate(root.get("datasets", ())):
        draft.note(dataset_id_problem(text), document, ("datasets", index))
    draft.pinned.datasets.update(root.get("datasets", ()))
    draft.pinned.digests.update(root.get("digests", ()))


def read_file(tree: Tree, path: str) -> bytes:
    """The bytes of one of the files above.

    Raises:
        InvalidInput: E_PINS, the file is not there or too large.
    """
    listing = tree.find([path])
    if listing.problems:
        raise InvalidInput(listing.problems)
    files = [entry for entry in listing.entries if entry.mode != DIRECTORY]
    for _, data in tree.read(files, _LIMIT):
        if len(data) > _LIMIT:
            raise _refused(path, f"the file has at most {_LIMIT} bytes")
        return data
    raise _refused(path, "the file is missing")


def pins_of(data: bytes) -> Pins:
    """What `pins.yaml` names.

    Raises:
        InvalidInput: E_PINS, or what is wrong with the YAML.
    """
    ids = _texts(parse(data, PINS_FILE).root, "dataset_ids", PINS_FILE)
    for text in ids:
        if dataset_id_problem(text):
            raise _refused(PINS_FILE, "a pinned dataset id is RELEASE/SPECIES/ASSEMBLY", text)
    return Pins(datasets=frozenset(ids))


def gc_pins_of(data: bytes) -> Pins:
    """What `gc-pins.json` names: datasets in either form, and artifact hashes.

    Raises:
        InvalidInput: E_PINS, or what is wrong with the JSON.
    """
    document = parse_strict(data, where=GC_PINS_FILE)
    if not isinstance(document, dict) or set(document) != _GC_MEMBERS:
        raise _refused(GC_PINS_FILE, "it has the members dataset_ids and artifact_hashes, and no other")
    return Pins(
        datasets=frozenset(_dataset(text) for text in _texts(document, "dataset_ids", GC_PINS_FILE)),
        digests=frozenset(_hash(text) for text in _texts(document, "artifact_hashes", GC_PINS_FILE)),
    )


def manifest_ids(data: bytes) -> frozenset[str]:
    """The dataset ids of the repository's dataset manifest (contract 5.5).

    Raises:
        InvalidInput: E_PINS, or what is wrong with the JSON.
    """
    document = parse_strict(data, where=MANIFEST_FILE)
    datasets = document.get("datasets") if isinstance(document, dict) else None
    if not isinstance(datasets, list):
        raise _refused(MANIFEST_FILE, "datasets is a list of objects with an id")
    ids: list[str] = []
    for dataset in datasets:
        text = dataset.get("id") if isinstance(dataset, dict) else None
        if not isinstance(text, str) or dataset_id_problem(text):
            raise _refused(MANIFEST_FILE, "the id of a dataset is RELEASE/SPECIES/ASSEMBLY", str(text))
        ids.append(text)
    return frozenset(ids)


def merged_pins(parts: Sequence[Pins]) -> Pins:
    """Everything that any of them names."""
    return Pins(
        datasets=frozenset().union(*(part.datasets for part in parts)),
        digests=frozenset().union(*(part.digests for part in parts)),
    )


def _refused(path: str, message: str, got: str | None = None) -> InvalidInput:
    return InvalidInput.of("E_PINS", message, path=path, got=got, fix="correct it")


def _texts(document: object, member: str, path: str) -> list[str]:
    found = document.get(member) if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise _refused(path, f"{member} is a list of texts")
    return found


def _dataset(text: str) -> str:
    parts = _KEY_STRING.fullmatch(text)
    key = str(DatasetId(*parts.groups())) if parts else text
    if dataset_id_problem(key):
        message = "a pinned dataset id is RELEASE/SPECIES/ASSEMBLY or release=…&species=…&assembly=…"
        raise _refused(GC_PINS_FILE, message, text)
    return key


def _hash(text: str) -> str:
    found = _HEX.fullmatch(text)
    if not found:
        raise _refused(GC_PINS_FILE, "a pinned hash is 64 lower-case hex digits", text)
    return f"sha256:{found.group(1)}"
