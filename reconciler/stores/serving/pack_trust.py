"""Which files of a pack the manifest vouches for, directly or through the evidence that it names.

Decides what an expected manifest digest proves. The manifest names the main artifact and the inputs by
sha256, and the evidence bundle by its hash; the bundle names eight reports, one of them the inventory,
which names the canonical documents and the gene index; `qc.json` is a copy of a bundled report (the
serving store's contract 2.4, 2.8). A file that none of these names, such as a shard, stands on the pack's
own index alone.

A file that contradicts what the manifest vouches for is corrupt. Evidence that the manifest does not
vouch for proves nothing and is not followed. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.canonical import canonical, parse_strict
from reconciler.errors import Corrupt, InvalidInput
from reconciler.model import Digest
from reconciler.stores.serving import contents
from reconciler.stores.serving.evidence_bundle import BUNDLE, INVENTORY
from reconciler.stores.serving.manifest import Manifest, evidence_bundle_sha256

FOLLOWED = frozenset({BUNDLE, INVENTORY})
"""The documents whose content `unbound_files` needs."""

INPUTS = {
    "inputs/genes.gff3.bgz": "gff3_sha256",
    "inputs/genome.fa.bgz": "fasta_sha256",
    "inputs/genome.fa.bgz.fai": "fai_sha256",
}
"""Which checksum of the manifest names which input."""


def unbound_files(
    manifest: Manifest, digest: Digest, files: Mapping[str, str], documents: Mapping[str, bytes], where: str
) -> tuple[str, ...]:
    """The paths that the manifest does not vouch for, in path order.

    Args:
        manifest: the manifest of the pack.
        digest: the digest of its bytes.
        files: the bare sha256 of every file of the pack, by path.
        documents: the bytes of those of `FOLLOWED` that the pack holds.
        where: how errors name the pack.

    Raises:
        Corrupt: E_PACK_HASH, a file is not the one that is vouched for.
    """
    bound = {
        contents.MANIFEST: digest.removeprefix("sha256:"),
        contents.ARTIFACT: manifest.checksums.sqlite_sha256,
    }
    bound |= {path: getattr(manifest.checksums, name) for path, name in INPUTS.items()}
    bound |= _bundled(manifest, files, documents.get(BUNDLE, b""))
    if bound.get(INVENTORY) == files.get(INVENTORY):
        bound = _inventory(documents.get(INVENTORY, b"")) | bound
    if "derived/qc_report.json" in bound:
        bound["derived/qc.json"] = bound["derived/qc_report.json"]
    for path, sha256 in files.items():
        if bound.get(path, sha256) != sha256:
            raise Corrupt.of(
                "E_PACK_HASH",
                "a file is not the one that the manifest vouches for",
                path=where,
                got=path,
                fix="fetch the pack again, or make it from an intact dataset",
            )
    return tuple(sorted(files.keys() - bound.keys()))


def _bundled(manifest: Manifest, files: Mapping[str, str], data: bytes) -> dict[str, str]:
    """What the evidence bundle names, if it is the one that the manifest names."""
    document = _object(data)
    listed = document.get("files")
    if not isinstance(listed, dict):
        return {}
    release = manifest.identity.release_id
    wanted = {
        "schema_version": 1,
        "dataset": dict(manifest.id._asdict()),
        "release_id": release,
        "files": listed,
        "bundle_sha256": evidence_bundle_sha256(manifest.id, release, listed),
    }
    if wanted["bundle_sha256"] != manifest.evidence_bundle_sha256 or canonical(wanted) != data:
        return {}
    return {**{str(path): str(sha256) for path, sha256 in listed.items()}, BUNDLE: files[BUNDLE]}


def _inventory(data: bytes) -> dict[str, str]:
    items = _object(data).get("items")
    if not isinstance(items, list):
        return {}
    return {
        str(item["path"]): str(item["sha256"])
        for item in items
        if isinstance(item, dict) and {"path", "sha256"} <= item.keys()
    }


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = parse_strict(data)
    except InvalidInput:
        return {}
    return document if isinstance(document, dict) else {}
