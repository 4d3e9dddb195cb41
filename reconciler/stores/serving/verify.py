"""Verifying a dataset on disk: a build root, or one that stands in a store (contract 3.6, 11).

Decides which checks apply at which depth and what each says: passed, failed, or not recomputable. The last
is never a pass: a file that was not published, a signature that was never stated or a hash over numbers
that two writers spell differently cannot be confirmed, and the report says so.

Stricter than the reference: the manifest must be of the dataset that its directory names, the hash chain is
complete, shards and sidecars are held against the documents that list them.

Writes nothing, creates nothing, follows no link. A file that cannot be read is an `Unavailable` error; what
is wrong with a file that can be read is a `Problem`, and the caller knows which exit that means: `Corrupt`
in a store, `InvalidInput` for what somebody offers to publish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from reconciler.canonical import sha256_digest, sha256_hex
from reconciler.errors import InvalidInput, LimitExceeded, Problem
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving import lock_files
from reconciler.stores.serving.artifact_db import database_problems
from reconciler.stores.serving.canonical_model import check_summary
from reconciler.stores.serving.contents import (
    ARTIFACT,
    IMMUTABLE,
    LIFECYCLE_STATE,
    LIFECYCLE_TRANSITIONS,
    LOCK,
    MANIFEST,
    dataset_path,
)
from reconciler.stores.serving.files import DatasetFiles, opened
from reconciler.stores.serving.gates import DEFAULTS, QC_REPORT, Thresholds, qc_gates
from reconciler.stores.serving.manifest import Manifest, parse_manifest, rule_problems
from reconciler.stores.serving.shards import SHARD_CATALOG, parse_shards, shard_problems
from reconciler.stores.serving.verification import (
    Check,
    Setting,
    Status,
    Subject,
    differs,
    guarded,
    judged,
    missing,
    other_dataset,
    unconfirmed,
)
from reconciler.stores.serving.verify_deep import deep_checks

INPUTS = (
    ("gff3_sha256", "inputs/genes.gff3.bgz"),
    ("fasta_sha256", "inputs/genome.fa.bgz"),
    ("fai_sha256", "inputs/genome.fa.bgz.fai"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What verifying one dataset found.

    `manifest` is None where the manifest is missing or cannot be parsed; `digest` is of its bytes.
    """

    dataset: DatasetId
    setting: Setting
    deep: bool
    digest: Digest | None
    manifest: Manifest | None
    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that failed, in the order of the checks."""
        return tuple(problem for check in self.checks for problem in check.problems)

    @property
    def unconfirmed(self) -> tuple[Check, ...]:
        """The checks that could not be recomputed."""
        return tuple(check for check in self.checks if check.status is Status.NOT_RECOMPUTABLE)


def verify_dataset(
    dirfd: int,
    dataset: DatasetId,
    *,
    deep: bool,
    thresholds: Thresholds = DEFAULTS,
    store: bool,
) -> VerifyReport:
    """Verify one dataset.

    Args:
        dirfd: an open descriptor of the dataset's directory.
        dataset: the id that the directory stands for.
        deep: also recompute the row signature, the artifact hash, evidence, inventory and all gates.
        thresholds: what the publish gates compare with.
        store: it stands in a store, where it must have been published completely.

    Raises:
        Unavailable: a file cannot be read.
    """
    setting = Setting.STORE if store else Setting.BUILD_ROOT
    files = DatasetFiles(dirfd, dataset_path(dataset))
    found = _manifest(files)
    digest = None if found.data is None else Digest(sha256_digest(found.data))
    checks = [judged("manifest", found.problems)]
    if found.manifest is not None and found.data is not None:
        subject = Subject(files, dataset, setting, found.manifest, found.data)
        checks += _checks(subject, thresholds)
        if deep:
            checks += deep_checks(subject, thresholds)
    return VerifyReport(
        dataset=dataset,
        setting=setting,
        deep=deep,
        digest=digest,
        manifest=found.manifest,
        checks=tuple(checks),
    )


class _Found(NamedTuple):
    data: bytes | None
    manifest: Manifest | None
    problems: tuple[Problem, ...]


def _manifest(files: DatasetFiles) -> _Found:
    path = files.path(MANIFEST)
    try:
        data = files.read(MANIFEST)
        if data is None:
            fix = "publish the dataset"
            return _Found(
                None,
                None,
                (Problem(code="E_NOT_PUBLISHED", message="there is no manifest", path=path, fix=fix),),
            )
        return _Found(data, parse_manifest(data, path), ())
    except (InvalidInput, LimitExceeded) as error:
        return _Found(None, None, error.problems)


def _checks(subject: Subject, thresholds: Thresholds) -> list[Check]:
    path = subject.files.path(MANIFEST)
    return [
        judged("rules", rule_problems(subject.manifest, path), "22 rules"),
        judged("identity", _identity_problems(subject)),
        *(_input(subject, relpath, getattr(subject.manifest.checksums, name)) for name, relpath in INPUTS),
        judged("artifact", _artifact_problems(subject)),
        _lock(subject),
        *_records(subject),
        judged("database", _database_problems(subject), "contract 4.2"),
        guarded("canonical summary", lambda: check_summary(subject)),
        guarded("shards", lambda: _shards(subject)),
        _quality(subject, thresholds),
    ]


def _identity_problems(subject: Subject) -> tuple[Problem, ...]:
    if subject.manifest.id == subject.dataset:
        return ()
    return (
        Problem(
            code="E_IDENTITY",
            message=f"the manifest is of another dataset than {subject.dataset}",
            path=subject.files.path(MANIFEST),
            got=str(subject.manifest.id),
            fix="put the dataset into the directory of its own id",
        ),
    )


def _input(subject: Subject, relpath: str, stated: str) -> Check:
    found = subject.files.hash(relpath)
    if found is None and subject.setting is Setting.STORE:
        return unconfirmed(relpath, "it was not published")
    path = subject.files.path(relpath)
    if found is None:
        return judged(relpath, [missing(path)])
    return judged(relpath, [] if found.sha256 == stated else [differs(path, "the manifest", found.sha256)])


def _artifact_problems(subject: Subject) -> tuple[Problem, ...]:
    """The database's bytes against both hashes that the manifest states of them."""
    path, found = subject.files.path(ARTIFACT), subject.files.hash(ARTIFACT)
    if found is None:
        return (missing(path),)
    stated = (subject.manifest.checksums.sqlite_sha256, subject.manifest.db_hash)
    if stated == (found.sha256, found.sha256):
        return ()
    return (
        Problem(
            code="E_ARTIFACT_HASH",
            message="the database is not the one that the manifest names",
            path=path,
            got=found.sha256,
            fix="restore the database, or rebuild the dataset",
        ),
    )


def _lock(subject: Subject) -> Check:
    files, name = subject.files, "lock"
    data = files.read(LOCK)
    if data is None and subject.setting is Setting.BUILD_ROOT:
        return unconfirmed(name, "a build root has no manifest.lock")
    if data is None:
        problem = Problem(
            code="E_LOCK_MISSING",
            message="there is no manifest.lock: the dataset was not published completely",
            path=files.path(LOCK),
            fix="publish the dataset again",
        )
        return judged(name, [problem])
    return guarded(name, lambda: judged(name, _lock_problems(subject, data)))


def _lock_problems(subject: Subject, data: bytes) -> tuple[Problem, ...]:
    path = subject.files.path(LOCK)
    lock = lock_files.parse_lock(data, path)
    return published_problems(lock, _actual(subject), path)


def _actual(subject: Subject) -> lock_files.Published:
    artifact = subject.files.hash(ARTIFACT)
    return lock_files.Published(sha256_hex(subject.manifest_bytes), artifact.sha256 if artifact else "")


def published_problems(
    stated: lock_files.Published, actual: lock_files.Published, path: str
) -> tuple[Problem, ...]:
    """Where the two hashes of a publish record are not those of the files; an absent file is not compared."""
    problems = []
    if stated.manifest_sha256 != actual.manifest_sha256:
        problems.append(
            Problem(
                code="E_MANIFEST_HASH",
                message="the record is of another manifest than the one beside it",
                path=path,
                got=stated.manifest_sha256,
                fix="restore the manifest that was published",
            )
        )
    if actual.sqlite_sha256 and stated.sqlite_sha256 != actual.sqlite_sha256:
        problems.append(
            Problem(
                code="E_ARTIFACT_HASH",
                message="the record is of another database than the one beside it",
                path=path,
                got=stated.sqlite_sha256,
                fix="restore the database that was published",
            )
        )
    return tuple(problems)


def _records(subject: Subject) -> list[Check]:
    """The immutability marker and the lifecycle, which the reference never reads again (contract 2.6)."""
    if subject.setting is Setting.BUILD_ROOT:
        return []
    readers: tuple[tuple[str, Callable[[bytes, str], tuple[Problem, ...]]], ...] = (
        (IMMUTABLE, lambda data, path: _immutable_problems(subject, data, path)),
        (LIFECYCLE_TRANSITIONS, lambda data, path: _transition_problems(subject, data, path)),
        (LIFECYCLE_STATE, lambda data, path: _state_problems(subject, data, path)),
    )
    return [_record(subject, relpath, problems) for relpath, problems in readers]


def _record(subject: Subject, relpath: str, problems: Callable[[bytes, str], tuple[Problem, ...]]) -> Check:
    data = subject.files.read(relpath)
    if data is None:
        return unconfirmed(relpath, "it was not written")
    return guarded(relpath, lambda: judged(relpath, problems(data, subject.files.path(relpath))))


def _immutable_problems(subject: Subject, data: bytes, path: str) -> tuple[Problem, ...]:
    dataset, stated = lock_files.parse_immutable(data, path)
    return (
        *other_dataset(dataset, subject.dataset, path),
        *published_problems(stated, _actual(subject), path),
    )


def _transition_problems(subject: Subject, data: bytes, path: str) -> tuple[Problem, ...]:
    problems: list[Problem] = []
    for item in lock_files.parse_transitions(data, path):
        problems += other_dataset(item.dataset, subject.dataset, path)
        problems += published_problems(item.published, _actual(subject), path)
    return tuple(problems)


def _state_problems(subject: Subject, data: bytes, path: str) -> tuple[Problem, ...]:
    return other_dataset(lock_files.parse_state(data, path).dataset, subject.dataset, path)


def _database_problems(subject: Subject) -> tuple[Problem, ...]:
    with opened(subject.files.dirfd, ARTIFACT, subject.files.where) as handle:
        if handle is None:
            return (missing(subject.files.path(ARTIFACT)),)
        return database_problems(handle, subject.files.path(ARTIFACT), subject.dataset)


def _shards(subject: Subject) -> Check:
    name, path = "shards", subject.files.path(SHARD_CATALOG)
    data = subject.files.read(SHARD_CATALOG)
    if data is not None:
        catalog = parse_shards(data, path)
        problems = shard_problems(subject.files, catalog, subject.dataset)
        return judged(name, problems, f"{len(catalog.shards)} shards")
    if subject.manifest.sharding_plan == "none":
        return judged(name, (), "the dataset is not sharded")
    if subject.setting is Setting.STORE:
        return unconfirmed(name, "the shards were not published")
    return judged(name, [missing(path)])


def _quality(subject: Subject, thresholds: Thresholds) -> Check:
    if subject.setting is Setting.STORE and subject.files.read(QC_REPORT) is None:
        return unconfirmed("quality", "the QC report was not published")
    return judged("quality", qc_gates(subject.files, thresholds.qc), "contract 4.4")


def check_publishable(dirfd: int, dataset: DatasetId) -> tuple[Problem, ...]:
    """What keeps a build root from being published, the publish gates aside (contract 3.7, 11).

    Raises:
        Unavailable: a file cannot be read.
    """
    report = verify_dataset(dirfd, dataset, deep=False, store=False)
    return tuple(p for check in report.checks if check.name != "quality" for p in check.problems)


def check_promotable(dirfd: int, dataset: DatasetId) -> tuple[Problem, ...]:
    """What keeps a published dataset from being listed (contract 11, "before promote").

    Rules, identity against the path, the hash chain with its lock, and the database contract.

    Raises:
        Unavailable: a file cannot be read.
    """
    files = DatasetFiles(dirfd, dataset_path(dataset))
    found = _manifest(files)
    if found.manifest is None or found.data is None:
        return found.problems
    subject = Subject(files, dataset, Setting.STORE, found.manifest, found.data)
    return (
        *rule_problems(found.manifest, files.path(MANIFEST)),
        *_identity_problems(subject),
        *_artifact_problems(subject),
        *_lock(subject).problems,
        *_database_problems(subject),
    )
