"""The evidence bundle and the inventory of a dataset: files beside the artifact, by sha256 (contract 2.8).

Decides that every file which the two documents name is there with the bytes that they state, that the
bundle names exactly the eight files it must, and that its hash is the one in the manifest. The reference
trusts the bundle's own list, which may be empty or lead out of the directory (contract 8.3); here a key is
one of the eight names or the bundle is refused.

Never writes; never opens a path that a document names before it is known to stay in the dataset.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from reconciler.canonical import parse_strict
from reconciler.errors import Problem
from reconciler.model import DatasetId
from reconciler.stores.serving.documents import DatasetMembers, convert
from reconciler.stores.serving.files import DatasetFiles, FileHash, is_plain_path
from reconciler.stores.serving.manifest import Manifest, evidence_bundle_sha256

BUNDLE = "derived/evidence_bundle.lock.json"
INVENTORY = "derived/artifact_inventory.json"

BUNDLED = tuple(
    f"derived/{name}.json"
    for name in (
        "anomaly_report",
        "anomaly_summary",
        "artifact_inventory",
        "build_metadata",
        "dataset_stats",
        "qc_report",
        "scientific_profile",
        "source_facts",
    )
)
"""The files that a bundle covers: these and no others."""

ROLES = frozenset(
    {
        "sqlite",
        "anomaly_report",
        "anomaly_summary",
        "qc_report",
        "source_facts",
        "build_metadata",
        "dataset_stats",
        "scientific_profile",
        "canonical_features",
        "canonical_summary",
        "release_gene_index",
        "gff3",
        "fasta",
        "fai",
    }
)


class Bundle(Struct, frozen=True, forbid_unknown_fields=True):
    """An `evidence_bundle.lock.json`."""

    schema_version: Literal[1]
    dataset: DatasetMembers
    release_id: str
    bundle_sha256: str
    files: dict[str, str]


class InventoryItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of an inventory; its path is relative to the dataset's directory."""

    role: str
    path: str
    sha256: str
    bytes: int


class Inventory(Struct, frozen=True, forbid_unknown_fields=True):
    """An `artifact_inventory.json`."""

    schema_version: Literal[1]
    dataset: DatasetMembers
    release_id: str
    normalized_input_identity_sha256: str
    items: tuple[InventoryItem, ...]


class Covered(NamedTuple):
    """How many files a document's hashes were compared for, which of them were absent, and what is wrong."""

    compared: int
    absent: tuple[str, ...]
    problems: tuple[Problem, ...]


def check_bundle(files: DatasetFiles, data: bytes, manifest: Manifest) -> Covered:
    """Hold the evidence bundle against the files it covers and against the manifest (contract 3.9).

    Raises:
        InvalidInput: the bundle cannot be parsed.
        Unavailable: a file cannot be read.
    """
    path = files.path(BUNDLE)
    bundle = convert(parse_strict(data, where=path), Bundle, where=path)
    problems = [*_of_dataset(bundle.dataset, manifest.id, path)]
    if bundle.release_id != manifest.identity.release_id:
        problems.append(_wrong(path, "the bundle's release_id is not the manifest's", bundle.release_id))
    odd = sorted(bundle.files.keys() ^ set(BUNDLED))
    if odd:
        problems.append(_wrong(path, "the bundle does not list exactly the eight files of its kind", odd[0]))
    payload = evidence_bundle_sha256(manifest.id, bundle.release_id, bundle.files)
    if bundle.bundle_sha256 != payload:
        problems.append(_wrong(path, "bundle_sha256 does not cover the bundle's list", bundle.bundle_sha256))
    if manifest.evidence_bundle_sha256 != bundle.bundle_sha256:
        problems.append(
            _wrong(path, "evidence_bundle_sha256 of the manifest is not the bundle's", bundle.bundle_sha256)
        )
    listed = {name: bundle.files[name] for name in BUNDLED if name in bundle.files}
    return _compared(files, {name: FileHash(sha256, -1) for name, sha256 in listed.items()}, problems)


def check_inventory(files: DatasetFiles, data: bytes, manifest: Manifest) -> Covered:
    """Hold the inventory against the files it lists, which no command of the reference does (contract 2.8).

    Raises:
        InvalidInput: the inventory cannot be parsed.
        Unavailable: a file cannot be read.
    """
    path = files.path(INVENTORY)
    inventory = convert(parse_strict(data, where=path), Inventory, where=path)
    problems = [*_of_dataset(inventory.dataset, manifest.id, path)]
    if inventory.normalized_input_identity_sha256 != manifest.normalized_input_identity_sha256:
        problems.append(
            _wrong(
                path,
                "normalized_input_identity_sha256 is not the manifest's",
                inventory.normalized_input_identity_sha256,
            )
        )
    paths = [item.path for item in inventory.items]
    if paths != sorted(set(paths)):
        problems.append(_wrong(path, "the items are not sorted by path, or one is listed twice", None))
    listed: dict[str, FileHash] = {}
    for item in inventory.items:
        if item.role not in ROLES:
            problems.append(_wrong(path, "an item has an unknown role", item.role))
        elif not is_plain_path(item.path) or item.path.split("/")[0] not in {"inputs", "derived"}:
            problems.append(_wrong(path, "the path of an item leaves the dataset", item.path))
        else:
            listed[item.path] = FileHash(item.sha256, item.bytes)
    return _compared(files, listed, problems)


def _compared(files: DatasetFiles, listed: dict[str, FileHash], problems: list[Problem]) -> Covered:
    """Compare stated hashes (and sizes, where not negative) with the files."""
    absent = []
    for relpath, stated in listed.items():
        found = files.hash(relpath)
        if found is None:
            absent.append(relpath)
        elif found.sha256 != stated.sha256:
            problems.append(
                _differs(files.path(relpath), "the file has other bytes than stated", found.sha256)
            )
        elif stated.size not in {-1, found.size}:
            problems.append(
                _differs(files.path(relpath), "the file has another size than stated", str(found.size))
            )
    return Covered(len(listed) - len(absent), tuple(absent), tuple(problems))


def _of_dataset(members: DatasetMembers, dataset: DatasetId, path: str) -> tuple[Problem, ...]:
    if members.id == dataset:
        return ()
    return (
        Problem(
            code="E_IDENTITY",
            message=f"the document is of another dataset than {dataset}",
            path=path,
            got="/".join(members.id),
            fix="rebuild the dataset",
        ),
    )


def _wrong(path: str, message: str, got: str | None) -> Problem:
    return Problem(code="E_EVIDENCE", message=message, path=path, got=got, fix="rebuild the dataset")


def _differs(path: str, message: str, got: str) -> Problem:
    return Problem(code="E_FILE_HASH", message=message, path=path, got=got, fix="restore the file")
