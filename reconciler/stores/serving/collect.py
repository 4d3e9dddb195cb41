"""What a serving store holds, and moving what nobody needs to the trash.

Decides what in the store itself keeps a dataset: the catalog, any alias, a publish under way. A directory
that is no whole dataset cannot be judged and stays. A store without a catalog has lost its roots, and
nothing is collected there.

A dataset's age is that of its youngest file, by the later of its two times, against the time that the store
gives a file made now: the clock of another machine decides nothing, and bytes that were copied with their
old times are young. The file has no name, so a reading leaves nothing behind.

Removing is one rename to `.reconciler/trash/SEQ/`, under the lock and recorded; from there a person can
move it back. Only a later collection deletes it for good, after the grace period.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import Final, NamedTuple

from reconciler.canonical import sha256_digest
from reconciler.errors import InvalidInput, Problem
from reconciler.failpoints import failpoint
from reconciler.gc import GRACE, Content, Holdings, unusable
from reconciler.model import Address, Change, DatasetId, Step
from reconciler.stores.serving.contents import MANIFEST, PUBLISH_LOCK, dataset_path
from reconciler.stores.serving.durable import (
    TMP,
    TRASH,
    directory,
    move_aside,
    remove_tree,
    store_time,
    unique_name,
)
from reconciler.stores.serving.files import file_stat, open_dir, read_file
from reconciler.stores.serving.heads import CATALOG_FILE, Heads
from reconciler.stores.serving.manifest import artifact_hash, parse_manifest
from reconciler.stores.serving.observe import observe_artifact
from reconciler.stores.serving.order import ARTIFACT, DATASET
from reconciler.stores.serving.session import Session
from reconciler.stores.serving.walk import Standing, dataset_directories

COLLECT_ID: Final = "collect "
_SEQ = re.compile(r"[0-9]{20}", re.ASCII)


def holdings(root: int, where: str, store: str, heads: Heads) -> Holdings:
    """Every dataset directory with what keeps it, and the trash that may go for good.

    Raises:
        LimitExceeded: E_GC_ROOTS, there is no catalog.
        Unavailable: something cannot be read.
    """
    now = store_time(root, where)  # before anything is looked at: what changes meanwhile is young
    named: dict[DatasetId, list[str]] = {}
    for key, alias in sorted(heads.aliases().items()):
        named.setdefault(alias.dataset, []).append(f"alias {key}")
    contents = []
    for seen in dataset_directories(root, where):
        uses = list(named.get(seen.dataset, ()))
        if seen.problem is None and heads.catalog.find(seen.dataset) is not None:
            uses.insert(0, "listed in the catalog")
        contents.append(_content(seen, Address(store, DATASET, seen.key), uses, where))
    if contents and "catalog" not in heads.digests:
        raise unusable(f"{where}/{CATALOG_FILE}", "the store has datasets and no catalog")
    return Holdings(now, tuple(sorted(contents, key=lambda one: one.address)), _expired(root, where, now))


def _content(seen: Standing, address: Address, uses: list[str], where: str) -> Content:
    place = f"{where}/{dataset_path(seen.dataset)}"
    extent = _extent(seen.handle)
    if file_stat(seen.handle, PUBLISH_LOCK, place) is not None:
        uses.append("being published")
    observed = observe_artifact(seen.handle, place)
    hashes, problems = _hashes(seen.handle, place) if observed.digest else (frozenset(), ())
    if seen.problem is not None:
        problems = (seen.problem,)
    return Content(
        address=address,
        digest=observed.digest,
        hashes=hashes,
        size=extent.size,
        changed_at=extent.changed_at,
        uses=tuple(uses),
        release=seen.dataset.release if seen.problem is None else "",
        line=seen.dataset.scope,
        problems=(*observed.problems, *problems),
    )


def _hashes(handle: int, place: str) -> tuple[frozenset[str], tuple[Problem, ...]]:
    """Every digest that a pin may name a dataset by; its artifact hash both as stated and as computed."""
    data = read_file(handle, MANIFEST, where=place)
    try:
        manifest = parse_manifest(data or b"", f"{place}/{MANIFEST}")
    except InvalidInput as error:
        return frozenset(), error.problems
    found = (manifest.artifact_hash, artifact_hash(manifest), manifest.checksums.sqlite_sha256)
    bare = (text.removeprefix("sha256:") for text in found if text)
    return frozenset((sha256_digest(data or b""), *(f"sha256:{text}" for text in bare))), ()


class _Extent(NamedTuple):
    size: int
    changed_at: int


def _extent(handle: int) -> _Extent:
    """The bytes below a directory, and when the youngest thing in it last changed; follows no link."""
    size, changed_at = 0, _changed_at(os.fstat(handle))
    for name in os.listdir(handle):
        seen = os.stat(name, dir_fd=handle, follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            with directory(handle, name) as inner:
                below = _extent(inner)
        else:
            below = _Extent(seen.st_size, _changed_at(seen))
        size, changed_at = size + below.size, max(changed_at, below.changed_at)
    return _Extent(size, changed_at)


def _changed_at(seen: os.stat_result) -> int:
    return int(max(seen.st_mtime, seen.st_ctime))


# The trash.


def steps_of(store: str, doomed: Sequence[Content]) -> tuple[Step, ...]:
    """One step per dataset: its artifact goes."""
    return tuple(
        Step(
            id=f"{COLLECT_ID}{one.address.key}",
            store=store,
            unit=f"{DATASET} {one.address.key}",
            changes=(Change(one.address, ARTIFACT, one.digest, None),),
        )
        for one in doomed
    )


def collects(step: Step) -> bool:
    """Whether a step moves a dataset to the trash; nothing else removes an artifact."""
    first = step.changes[0]
    return first.slot == ARTIFACT and first.after is None


def trash_path(seq: int, dataset: DatasetId) -> str:
    """Where a run puts a dataset that it removes."""
    return f"{TRASH}/{seq:020d}/{dataset_path(dataset)}"


def move_to_trash(session: Session, step: Step) -> None:
    """Move one dataset to the trash, at once and durably.

    Raises:
        Conflict: E_FENCED.
        OSError: the store failed.
    """
    dataset = DatasetId.parse(step.changes[0].address.key)
    failpoint("fs.gc.move.before")
    session.still_ours()
    move_aside(session.root, dataset_path(dataset), trash_path(session.seq, dataset))
    failpoint("fs.gc.move.after")


def settle_trash(session: Session, step: Step) -> None:
    """Make a move durable that a killed process may not have synced."""
    dataset = DatasetId.parse(step.changes[0].address.key)
    for path in (trash_path(session.seq, dataset), dataset_path(dataset)):
        with directory(session.root, path.rpartition("/")[0]) as parent:
            os.fsync(parent)


def _expired(root: int, where: str, now: int) -> tuple[str, ...]:
    """The runs whose trash is older than the grace period."""
    trash = open_dir(root, TRASH, where)
    if trash is None:
        return ()
    try:
        found = [
            name
            for name in sorted(os.listdir(trash))
            if _SEQ.fullmatch(name)
            and now - _changed_at(os.stat(name, dir_fd=trash, follow_symlinks=False)) >= GRACE
        ]
    finally:
        os.close(trash)
    return tuple(found)


def delete_expired(session: Session, expired: Sequence[str]) -> None:
    """Delete trash for good. What is deleted is moved out of the trash first, so none of it is ever half.

    Raises:
        Conflict: E_FENCED.
        OSError: the store failed.
    """
    for name in expired:
        failpoint("fs.gc.expire")
        session.still_ours()
        gone = unique_name()
        with directory(session.root, TRASH) as trash, directory(session.root, TMP) as tmp:
            os.rename(name, gone, src_dir_fd=trash, dst_dir_fd=tmp)
            os.fsync(tmp)
            os.fsync(trash)
            remove_tree(tmp, gone)
