"""Taking a backup back into the directory of a serving store, and the mark that it leaves.

Decides what an empty place is: a directory that is missing or empty, or that an attempt to restore the very
same backup has begun. The mark `.reconciler/restore.json` is written first of all and says which backup
this will be; while it is unfinished the store can be neither read nor written. Afterwards it stays until
a drill proved the store.

Files are written under a name of nobody, synced and linked, so nothing half is ever found, and nothing
that stands is overwritten. Directories are synced before the catalog appears.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from reconciler.backup.document import Part, Phase
from reconciler.canonical import sha256_digest
from reconciler.errors import Corrupt, InvalidInput, Problem
from reconciler.failpoints import failpoint
from reconciler.model import Digest
from reconciler.stores.keeping import (
    Chunks,
    Restored,
    foreign_part,
    other_bytes,
    read_restored,
    restored_bytes,
)
from reconciler.stores.serving.catalog import CATALOG, CATALOG_LIMIT
from reconciler.stores.serving.contents import dataset_path
from reconciler.stores.serving.durable import (
    LEDGER,
    OWN,
    STAGING,
    TMP,
    Moments,
    create_synced,
    directory,
    make_directory,
    remove_file,
    remove_tree,
    replace_file,
    store_faults,
    unique_name,
)
from reconciler.stores.serving.files import open_dir, read_file, sha256_file
from reconciler.stores.serving.keeping import DISPOSABLE, RESTORED, rebuilt_bytes
from reconciler.stores.serving.ledger_files import LedgerFiles
from reconciler.stores.serving.observe import observe_artifact
from reconciler.stores.serving.walk import dataset_directories

MARK: Final = f"{OWN}/{RESTORED}"
_MARK_LIMIT: Final = 4096
_MOMENTS = Moments(
    "res.mark.tmp.mid",
    "res.mark.fsync",
    "res.mark.cas",
    "res.mark.before",
    "res.mark.after",
    "res.mark.dirsync",
)


def restored_mark(root: int, where: str) -> Restored | None:
    """What the mark says; None if there is none.

    Raises:
        Corrupt: E_RESTORE_MARK.
    """
    data = read_file(root, MARK, _MARK_LIMIT, where)
    return None if data is None else read_restored(data, f"{where}/{MARK}")


def remove_mark(root: int, where: str) -> None:
    """A drill proved the store."""
    with store_faults(where):
        remove_file(root, MARK, _MOMENTS, still_valid=lambda: None)


def begin(root: int, where: str, backup: Digest) -> None:
    """Check that the place is empty, or begun with this backup, and mark it; the caller holds the lock.

    Raises:
        InvalidInput: E_RESTORE_PLACE.
    """
    mark = restored_mark(root, where)
    if mark is not None:
        if mark != Restored(backup, finished=False):
            raise not_empty(where, f"it holds {mark.backup}")
    else:
        refuse_full(root, where)
        _write_mark(root, backup, finished=False)
    for path in (LEDGER, STAGING, TMP):
        make_directory(root, path)
    with directory(root, TMP) as tmp:
        for name in os.listdir(tmp):
            remove_tree(tmp, name)


def refuse_full(root: int, where: str) -> None:
    """Refuse a directory in which anything stands but what a first attempt makes before its mark.

    Raises:
        InvalidInput: E_RESTORE_PLACE.
    """
    names = set(os.listdir(root))
    if names - {OWN}:
        raise not_empty(where, f"{min(names - {OWN})[:80]!a} stands there")
    own = open_dir(root, OWN, where)
    if own is not None:
        try:
            rest = set(os.listdir(own)) - {"lock", "tmp"}
        finally:
            os.close(own)
        if rest:
            raise not_empty(where, f"{OWN}/{min(rest)[:80]!a} stands there")


def _write_mark(root: int, backup: Digest, *, finished: bool) -> None:
    make_directory(root, TMP)
    data = restored_bytes(Restored(backup, finished))
    replace_file(root, MARK, data, _MOMENTS, still_valid=lambda: None)


def not_empty(where: str, got: str) -> InvalidInput:
    """The refusal of a place in which something stands."""
    return InvalidInput.of(
        "E_RESTORE_PLACE",
        "a backup is restored into an empty place only",
        path=where,
        got=got,
        fix="name an empty directory, then move it to where the store was",
    )


class ServingRestoring:
    """A directory that takes a backup back (see `reconciler.stores.keeping.Restoring`)."""

    def __init__(self, root: int, where: str, ledger: LedgerFiles, backup: Digest) -> None:
        self._root, self._where, self._ledger, self._backup = root, where, ledger, backup
        self._digests: dict[str, Digest] = {}
        self._made: set[str] = set()

    def holds(self, part: Part) -> bool:
        """Whether an earlier attempt put this part."""
        self._check_path(part)
        found = sha256_file(self._root, part.path, self._where)
        if found is None:
            return False
        if f"sha256:{found.sha256}" != part.digest:
            raise Corrupt.of(
                "E_RESTORE_PLACE",
                "another file stands where a part of the backup comes back",
                path=f"{self._where}/{part.path}",
                got=f"sha256:{found.sha256}",
                fix="remove it, and run the restore again",
            )
        self._digests[part.path] = part.digest
        self._made.add(part.path.rpartition("/")[0])
        return True

    def put(self, part: Part, chunks: Chunks) -> None:
        """Write a file, compare it, and give it its name."""
        self._check_path(part)
        parent, _, name = part.path.rpartition("/")
        temporary, hashed = unique_name(), hashlib.sha256()
        with store_faults(f"{self._where}/{part.path}"):
            if parent and parent not in self._made:
                make_directory(self._root, parent)
            self._made.add(parent)
            with directory(self._root, TMP) as tmp, directory(self._root, parent) as place:
                try:
                    create_synced(tmp, temporary, _updating(chunks(), hashed))
                    if f"sha256:{hashed.hexdigest()}" != part.digest:
                        raise other_bytes(part)
                    failpoint("res.part.before")
                    os.link(temporary, name, src_dir_fd=tmp, dst_dir_fd=place, follow_symlinks=False)
                    failpoint("res.part.after")
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=tmp)
                if part.phase >= Phase.CATALOG:
                    os.fsync(place)
        self._digests[part.path] = part.digest

    def rebuild(self, part: Part) -> None:
        """Build a lock file, an immutability marker or the catalog's digest, and compare it."""
        data = rebuilt_bytes(part.path, self._digests, self._catalog)
        if data is None or sha256_digest(data) != part.digest:
            raise Corrupt.of(
                "E_RESTORE_REBUILT",
                "what follows from the restored files is not what it was",
                path=f"{self._where}/{part.path}",
                got="nothing" if data is None else sha256_digest(data),
                fix="restore another backup",
            )
        self.put(part, lambda: iter((data,)))

    def check(self) -> None:
        """Make the content durable; the chains of datasets and of the ledger hold."""
        with store_faults(self._where):
            for path in sorted(self._made):
                with directory(self._root, path) as handle:
                    os.fsync(handle)
        problems: list[Problem] = []
        for seen in dataset_directories(self._root, self._where):
            problems += observe_artifact(seen.handle, f"{self._where}/{dataset_path(seen.dataset)}").problems
        if problems:
            raise Corrupt(problems)
        for _ in self._ledger.records():
            pass

    def finish(self) -> None:
        """Say that everything is back, and that no drill has proved it."""
        with store_faults(self._where):
            _write_mark(self._root, self._backup, finished=True)

    def _catalog(self) -> bytes:
        return read_file(self._root, CATALOG, CATALOG_LIMIT, self._where) or b""

    def _check_path(self, part: Part) -> None:
        first, _, rest = part.path.partition("/")
        if first == OWN and rest.partition("/")[0] in DISPOSABLE:
            raise foreign_part(part.path, "a serving store")


def _updating(chunks: Iterator[bytes], hashed: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        hashed.update(chunk)
        yield chunk
