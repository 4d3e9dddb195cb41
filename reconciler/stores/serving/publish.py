"""Publishing a dataset: stage all of it, check what was staged, make it visible by one rename.

A complete copy is written under `.reconciler/staging/<seq>/`, synced, completed with the files a store
makes for itself (manifest.lock, immutable.release.json, lifecycle.*.json), checked as a whole, and only
then renamed to its place, so that a reader sees nothing or everything.

Where the dataset's directory already stands, its identity is manifest plus main artifact: files that are
there must have the very same bytes (E_IMMUTABLE otherwise), files that are missing are linked in one by
one, the manifest last. That also finishes what the reference's publisher left half done. Existing
lifecycle files are kept as long as they name the same digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from reconciler.errors import Corrupt, Denied, InvalidInput, Problem
from reconciler.failpoints import failpoint
from reconciler.model import DatasetId, Digest
from reconciler.stores.serving import lock_files, source
from reconciler.stores.serving.contents import (
    ARTIFACT,
    IMMUTABLE,
    LIFECYCLE_STATE,
    LIFECYCLE_TRANSITIONS,
    LOCK,
    MADE_BY_STORE,
    MANIFEST,
    PUBLISH_LOCK,
    content_files,
    dataset_path,
)
from reconciler.stores.serving.durable import (
    QUARANTINE,
    STAGING,
    create_synced,
    directory,
    make_directory,
    make_unsynced,
    move_aside,
    remove_tree,
    sync_directories,
    sync_tree,
)
from reconciler.stores.serving.files import read_file, sha256_file
from reconciler.stores.serving.gates import Thresholds, check_gates
from reconciler.stores.serving.lock_files import Published
from reconciler.stores.serving.observe import observe_artifact
from reconciler.stores.serving.verify import check_promotable, verify_dataset

_LEFT_OVER = (
    PUBLISH_LOCK,
    f"{MANIFEST}.tmp",
    f"{ARTIFACT}.tmp",
    f"{LOCK}.tmp",
    f"{IMMUTABLE}.tmp",
    f"{LIFECYCLE_STATE}.tmp",
    f"{LIFECYCLE_TRANSITIONS}.tmp",
)
"""What a killed run of the reference's publisher leaves in a dataset (contract 3.7 step 5)."""


class Publication(NamedTuple):
    """One dataset to publish: what its manifest must be, and where its bytes come from."""

    dataset: DatasetId
    wanted: Digest
    location: str


def staged_path(seq: int, dataset: DatasetId) -> str:
    """Where a run stages a dataset."""
    return f"{STAGING}/{seq:020d}/{str(dataset).replace('/', ',')}"


def _unjudged_path(seq: int, dataset: DatasetId) -> str:
    """Where it is written before it was judged, so that what stands at `staged_path` always was."""
    return f"{staged_path(seq, dataset)}.part"


def stage(root: int, base: Path, seq: int, publication: Publication, time: int) -> None:
    """Write the complete dataset where no reader looks; `seal` makes it count as staged.

    Args:
        root: descriptor of the store's root.
        base: where relative sources start.
        seq: the number of the run.
        publication: what to publish.
        time: the run's time, which the lifecycle files carry.

    Raises:
        Unavailable, InvalidInput, Corrupt: the source is not what was declared.
        OSError: the store failed.
    """
    path = _unjudged_path(seq, publication.dataset)
    _discard(root, path)
    with directory(root, STAGING) as staging:
        make_directory(staging, path.removeprefix(f"{STAGING}/"))
    with directory(root, path) as place:
        copied: dict[str, str] = {}

        def receive(name: str, pieces: Iterator[bytes]) -> None:
            copied[name] = _create(place, name, pieces)

        source.deliver(base, publication.location, publication.dataset, publication.wanted, receive)
        _check_copied(copied, publication)
        for name, data in _made(
            publication.dataset, Published(copied[MANIFEST], copied[ARTIFACT]), time
        ).items():
            _create(place, name, iter((data,)))
        sync_directories(place)


def _create(place: int, path: str, pieces: Iterator[bytes]) -> str:
    """Write one staged file and return its bare sha256."""
    parent, _, name = path.rpartition("/")
    make_unsynced(place, parent)
    seen = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in pieces:
            seen.update(piece)
            yield piece

    with directory(place, parent) as folder:
        create_synced(folder, name, hashed())
    return seen.hexdigest()


def _check_copied(copied: Mapping[str, str], publication: Publication) -> None:
    if ARTIFACT not in copied:
        raise InvalidInput.of(
            "E_SOURCE_FILE",
            "the source has no main artifact",
            path=f"{publication.location}/{ARTIFACT}",
            fix="rebuild the source",
        )
    if f"sha256:{copied[MANIFEST]}" != publication.wanted:
        raise InvalidInput.of(
            "E_SOURCE_MANIFEST",
            "the source's manifest changed while it was copied",
            path=publication.location,
            got=f"sha256:{copied[MANIFEST]}",
            fix="leave the source alone and try again",
        )


def _made(dataset: DatasetId, published: Published, time: int) -> dict[str, bytes]:
    """The files that a store makes for itself (contract 2.5, 2.6)."""
    publication = lock_files.Publication(dataset, published, at=str(time))
    return {
        LOCK: lock_files.encode_lock(published),
        IMMUTABLE: lock_files.encode_immutable(dataset, published),
        LIFECYCLE_TRANSITIONS: lock_files.encode_transitions(publication),
        LIFECYCLE_STATE: lock_files.encode_state(publication),
    }


def check_staged(root: int, seq: int, publication: Publication, thresholds: Thresholds) -> None:
    """Judge the staged bytes: everything that validate, the publish gates and a promotion ask.

    Raises:
        InvalidInput: what was built is not a valid dataset of this id.
        Denied: E_GATE, a publish gate fails.
    """
    with directory(root, _unjudged_path(seq, publication.dataset)) as place:
        report = verify_dataset(place, publication.dataset, deep=False, thresholds=thresholds, store=False)
        problems = tuple(problem for problem in report.problems if problem.code != "E_GATE")
        problems += check_promotable(place, publication.dataset)
        if problems:
            raise InvalidInput(_at(tuple(dict.fromkeys(problems)), publication.location))
        gates = check_gates(place, publication.dataset, thresholds)
    if gates:
        raise Denied(_at(gates, publication.location))


def _at(problems: tuple[Problem, ...], location: str) -> Iterator[Problem]:
    for problem in problems:
        yield replace(problem, path=f"{location}/{problem.path}" if problem.path else location)


def check_place(root: int, seq: int, publication: Publication, where: str) -> None:
    """Compare what already stands in the dataset's place with what was staged.

    Raises:
        Denied: E_IMMUTABLE, the dataset is published with other bytes.
        Corrupt: E_HALF_PUBLISHED, a publish that was left half done holds other bytes.
    """
    path = dataset_path(publication.dataset)
    try:
        staged_at = _unjudged_path(seq, publication.dataset)
        with directory(root, path) as live, directory(root, staged_at) as staged:
            differing = [name for name in _staged_files(staged) if _differs(live, staged, name, publication)]
            published = observe_artifact(live)[0] is not None
    except FileNotFoundError:
        return
    if not differing:
        return
    places = [f"{where}/{path}/{name}" for name in differing]
    if published:
        raise Denied(
            Problem(
                code="E_IMMUTABLE",
                message="a published dataset never changes, and this file has other bytes than the source",
                path=place,
                fix="publish under a new release",
            )
            for place in places
        )
    raise Corrupt(
        Problem(
            code="E_HALF_PUBLISHED",
            message="an unfinished publish left this file, and it has other bytes than the source",
            path=place,
            fix=f"move {path} out of the store after looking at it, then apply again",
        )
        for place in places
    )


def seal(root: int, seq: int, dataset: DatasetId) -> None:
    """Let a complete, judged copy count as staged."""
    staged = staged_path(seq, dataset)
    parent_path, _, name = staged.rpartition("/")
    _discard(root, staged)
    with directory(root, parent_path) as parent:
        os.rename(f"{name}.part", name, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)


def _staged_files(staged: int) -> tuple[str, ...]:
    """Every staged file in the order in which missing ones are linked in: the manifest last."""
    names = set(content_files(staged, "staging")) | MADE_BY_STORE
    return (*sorted(names - {MANIFEST}), MANIFEST)


def _differs(live: int, staged: int, name: str, publication: Publication) -> bool:
    seen = sha256_file(live, name)
    if seen is None or seen == sha256_file(staged, name):
        return False
    if name not in {LIFECYCLE_STATE, LIFECYCLE_TRANSITIONS, LOCK, IMMUTABLE}:
        return True
    wanted = lock_files.parse_lock(read_file(staged, LOCK) or b"")
    try:
        return not _consistent(name, read_file(live, name) or b"", publication.dataset, wanted)
    except InvalidInput:
        return True


def _consistent(name: str, data: bytes, dataset: DatasetId, wanted: Published) -> bool:
    """Whether one of the store's own files, written by whomever, says the same of this dataset."""
    if name == LOCK:
        return lock_files.parse_lock(data) == wanted
    if name == IMMUTABLE:
        return lock_files.parse_immutable(data) == (dataset, wanted)
    if name == LIFECYCLE_STATE:
        return lock_files.parse_state(data).dataset == dataset
    return all(
        (item.dataset, item.published) == (dataset, wanted) for item in lock_files.parse_transitions(data)
    )


def place(root: int, seq: int, publication: Publication, *, still_ours: Callable[[], None]) -> None:
    """Make the staged dataset visible.

    Args:
        root: descriptor of the store's root.
        seq: the number of the run.
        publication: what was staged.
        still_ours: called right before each write; raises if another run has taken over.

    Raises:
        OSError: the store failed; the dataset may stand in its place or not.
    """
    path = dataset_path(publication.dataset)
    parent_path, _, name = path.rpartition("/")
    staged = staged_path(seq, publication.dataset)
    staging_path, _, staged_name = staged.rpartition("/")
    make_directory(root, parent_path)
    with directory(root, staging_path) as staging, directory(root, parent_path) as parent:
        failpoint("fs.publish.before")
        still_ours()
        if _absent(parent, name):
            os.rename(staged_name, name, src_dir_fd=staging, dst_dir_fd=parent)
            failpoint("fs.publish.after")
        else:
            with directory(staging, staged_name) as whole, directory(parent, name) as live:
                _complete(whole, live)
            _put_aside(root, seq, publication.dataset)
        failpoint("fs.publish.dirsync")
        os.fsync(parent)
        os.fsync(staging)


def _absent(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False


def _complete(staged: int, live: int) -> None:
    """Link in the files that are missing, one by one; nothing that stands there is touched."""
    for path in _staged_files(staged):
        folder, _, name = path.rpartition("/")
        make_unsynced(live, folder)
        with directory(staged, folder) as origin, directory(live, folder) as goal:
            if _absent(goal, name):
                failpoint("fs.publish.link")
                os.link(name, name, src_dir_fd=origin, dst_dir_fd=goal, follow_symlinks=False)
    sync_tree(live)


def _put_aside(root: int, seq: int, dataset: DatasetId) -> None:
    """Quarantine what a killed publisher of the reference left beside the files it meant to write."""
    for path in _LEFT_OVER:
        aside = f"{QUARANTINE}/{seq:020d}-{str(dataset).replace('/', ',')}-{path.rpartition('/')[2]}"
        with contextlib.suppress(FileNotFoundError):
            move_aside(root, f"{dataset_path(dataset)}/{path}", aside)


def is_staged(root: int, seq: int, dataset: DatasetId) -> bool:
    """Whether a run's complete copy still stands in staging: what stands there was sealed."""
    try:
        with directory(root, staged_path(seq, dataset)):
            return True
    except FileNotFoundError:
        return False


def verify(root: int, publication: Publication) -> tuple[Problem, ...]:
    """Read a published dataset again: its hash chain, its lock, its rules."""
    failpoint("fs.verify")
    try:
        with directory(root, dataset_path(publication.dataset)) as live:
            digest, problems = observe_artifact(live)
            if problems or digest != publication.wanted:
                return problems or (_other_manifest(publication, digest),)
            return check_promotable(live, publication.dataset)
    except FileNotFoundError:
        return (_other_manifest(publication, None),)


def settle(root: int, dataset: DatasetId) -> None:
    """Make a dataset durable that a killed run put in place."""
    path = dataset_path(dataset)
    with directory(root, path) as live, directory(root, path.rpartition("/")[0]) as parent:
        sync_tree(live)
        os.fsync(parent)


def _other_manifest(publication: Publication, digest: Digest | None) -> Problem:
    return Problem(
        code="E_DIVERGED",
        message="after publishing, the dataset is not the one that was staged",
        path=dataset_path(publication.dataset),
        got=str(digest),
        fix="stop the writer that takes no lock, and plan again",
    )


def _discard(root: int, path: str) -> None:
    parent_path, _, name = path.rpartition("/")
    with contextlib.suppress(FileNotFoundError), directory(root, parent_path) as parent:
        remove_tree(parent, name)
