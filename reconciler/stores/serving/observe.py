"""What a store's dataset is, cheaply: the digest of its manifest, and whether its hash chain holds.

Decides the value of the slot `artifact` for a snapshot of 100,000 datasets. At the depth of manifests it
reads `manifest.json` and `manifest.lock`, compares the digests that they state of each other and of the
database, and sees that the database is there; its bytes are re-hashed by `observe_content` alone.

A dataset without one of the three files is not published, and if it has another of them it is
half-published (contract 8.4), which is a problem and not an absence. Writes nothing, follows no link.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

import msgspec

from reconciler.canonical import sha256_digest, sha256_hex
from reconciler.errors import InvalidInput, LimitExceeded, Problem
from reconciler.model import Digest
from reconciler.stores.serving.contents import ARTIFACT, LOCK, MANIFEST
from reconciler.stores.serving.evidence_bundle import BUNDLE, INVENTORY, check_bundle, check_inventory
from reconciler.stores.serving.files import DatasetFiles, open_file
from reconciler.stores.serving.lock_files import parse_lock
from reconciler.stores.serving.manifest import Manifest, parse_manifest
from reconciler.stores.serving.shards import SHARD_CATALOG, parse_shards, shard_problems

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ENOUGH = 1 << 16


class Observation(NamedTuple):
    """The digest of a published dataset's manifest, or None if it is not published; and what is wrong."""

    digest: Digest | None
    problems: tuple[Problem, ...] = ()


class _Checksums(msgspec.Struct):
    sqlite_sha256: str


class _Chain(msgspec.Struct):
    checksums: _Checksums


_chain = msgspec.json.Decoder(_Chain)


def observe_artifact(dirfd: int, where: str = "") -> Observation:
    """What stands in a dataset's directory, at the depth of manifests.

    Args:
        dirfd: an open descriptor of the dataset's directory.
        where: how problems name it.

    Raises:
        Unavailable: a file is there but cannot be read, or is a link.
    """
    digest = intact_artifact(dirfd)
    return Observation(digest) if digest else _explained(DatasetFiles(dirfd, where))


def intact_artifact(dirfd: int) -> Digest | None:
    """The digest of a dataset whose chain holds in exactly our bytes; None for everything else.

    This is the whole cost of a dataset in a snapshot, so it makes the fewest calls; whatever it does not
    recognise is read again with care by `_explained`.
    """
    try:
        derived = os.open("derived", _DIRECTORY, dir_fd=dirfd)
    except OSError:
        return None
    try:
        data = _bytes(derived, "manifest.json")
        lock = _bytes(derived, "manifest.lock")
        artifact = os.stat("gene_summary.sqlite", dir_fd=derived, follow_symlinks=False).st_mode
        sqlite = _chain.decode(data).checksums.sqlite_sha256
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(derived)
    found = sha256_hex(data)
    stated = f'{{"manifest_sha256":"{found}","sqlite_sha256":"{sqlite}"}}'
    if lock == stated.encode() and len(data) < _ENOUGH and stat.S_ISREG(artifact):
        return Digest("sha256:" + found)
    return None


def _bytes(directory: int, name: str) -> bytes:
    handle = os.open(name, _FILE, dir_fd=directory)
    try:
        return os.read(handle, _ENOUGH)
    finally:
        os.close(handle)


def _explained(files: DatasetFiles) -> Observation:
    """The same question, every answer with its reason."""
    data, lock = files.read(MANIFEST), files.read(LOCK)
    artifact = open_file(files.dirfd, ARTIFACT, files.where)
    if artifact is not None:
        os.close(artifact)
    if data is None and lock is None and artifact is None:
        return Observation(None)
    if data is None or lock is None or artifact is None:
        absent = [name for name, it in ((MANIFEST, data), (ARTIFACT, artifact), (LOCK, lock)) if it is None]
        problem = Problem(
            code="E_HALF_PUBLISHED",
            message=f"the dataset is published in part: {' and '.join(absent)} missing",
            path=files.where,
            fix="publish the dataset again",
        )
        return Observation(None, (problem,))
    digest = Digest(sha256_digest(data))
    try:
        stated = parse_lock(lock, files.path(LOCK))
        sqlite = parse_manifest(data, files.path(MANIFEST)).checksums.sqlite_sha256
    except InvalidInput as error:
        return Observation(digest, error.problems)
    return Observation(digest, _chain_problems(files, stated, (sha256_hex(data), sqlite)))


def _chain_problems(
    files: DatasetFiles, stated: tuple[str, str], actual: tuple[str, str]
) -> tuple[Problem, ...]:
    problems = []
    if stated[0] != actual[0]:
        problems.append(
            Problem(
                code="E_MANIFEST_HASH",
                message="the manifest is not the one that was published",
                path=files.path(MANIFEST),
                got=actual[0],
                fix="restore the manifest",
            )
        )
    if stated[1] != actual[1]:
        problems.append(
            Problem(
                code="E_ARTIFACT_HASH",
                message="the manifest names another database than the one that was published",
                path=files.path(MANIFEST),
                got=actual[1],
                fix="restore the manifest",
            )
        )
    return tuple(problems)


def observe_content(dirfd: int, where: str = "") -> Observation:
    """What stands in a dataset's directory, with everything hashed again that a document states a hash of.

    That is the database, the inputs, the shards, and what the evidence bundle and the inventory list. Files
    that were not published are not missed here; `verify` reports them.

    Raises:
        Unavailable: a file is there but cannot be read, or is a link.
    """
    seen = observe_artifact(dirfd, where)
    if seen.digest is None or seen.problems:
        return seen
    files = DatasetFiles(dirfd, where)
    data = files.read(MANIFEST) or b""
    try:
        manifest = parse_manifest(data, files.path(MANIFEST))
    except InvalidInput as error:
        return Observation(seen.digest, error.problems)
    checksums = manifest.checksums
    named = (
        (ARTIFACT, "E_ARTIFACT_HASH", checksums.sqlite_sha256),
        ("inputs/genes.gff3.bgz", "E_FILE_HASH", checksums.gff3_sha256),
        ("inputs/genome.fa.bgz", "E_FILE_HASH", checksums.fasta_sha256),
        ("inputs/genome.fa.bgz.fai", "E_FILE_HASH", checksums.fai_sha256),
    )
    problems = []
    for relpath, code, stated in named:
        found = files.hash(relpath)
        if found is not None and found.sha256 != stated:
            problems.append(
                Problem(
                    code=code,
                    message="the file has other bytes than its manifest states",
                    path=files.path(relpath),
                    got=found.sha256,
                    fix="restore the file",
                )
            )
    problems += (
        problem for document in _SIDECARS for problem in _sidecar_problems(files, manifest, document)
    )
    return Observation(seen.digest, tuple(dict.fromkeys(problems)))


_SIDECARS = (BUNDLE, INVENTORY, SHARD_CATALOG)


def _sidecar_problems(files: DatasetFiles, manifest: Manifest, document: str) -> tuple[Problem, ...]:
    """What is wrong with the files that one document lists, or with the document."""
    try:
        data = files.read(document)
        if data is None:
            return ()
        if document == SHARD_CATALOG:
            return shard_problems(files, parse_shards(data, files.path(document)), manifest.id)
        check = check_bundle if document == BUNDLE else check_inventory
        return check(files, data, manifest).problems
    except (InvalidInput, LimitExceeded) as error:
        return error.problems
