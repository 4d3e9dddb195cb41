"""An archive of backups in a local directory.

Decides how objects and documents become durable there: written under a name of nobody, synced, then linked
under their own, so that what stands under a sha256 was written whole. One writer at a time holds the lock
that a store has too. Readers take none: nothing that a document names is ever changed or removed here.

A directory that is not empty and no archive is refused, a store and a server's cache among them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from reconciler.canonical import canonical
from reconciler.errors import Conflict, Corrupt, InvalidInput, Unavailable
from reconciler.failpoints import failpoint
from reconciler.model import Digest
from reconciler.stores.keeping import Chunks
from reconciler.stores.serving.durable import (
    CHUNK,
    LEDGER,
    OWN,
    TMP,
    Moments,
    create_synced,
    directory,
    make_directory,
    put_if_absent,
    remove_tree,
    replace_file,
    store_faults,
    unique_name,
)
from reconciler.stores.serving.files import open_dir, open_file, read_file
from reconciler.stores.serving.location import SERVER_CACHE, create_root, open_root
from reconciler.stores.serving.lock import exclusive

SCHEMA: Final = "reconciler/archive/v1"
MARK: Final = "archive.json"
MARK_BYTES: Final = canonical({"schema": SCHEMA})
_OBJECT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FANOUT = re.compile(r"[0-9a-f]{2}", re.ASCII)
_DOCUMENT = Moments(
    "arc.document.tmp.mid",
    "arc.document.fsync",
    "arc.document.cas",
    "arc.document.before",
    "arc.document.after",
    "arc.document.dirsync",
)


class DirectoryArchive:
    """An archive in one directory (see `reconciler.backup.archive.Archive`)."""

    def __init__(self, base: Path, path: str, *, lock_timeout: float) -> None:
        self._base, self._path, self._timeout = base, path, lock_timeout
        self._touched: set[str] = set()
        self._root = open_root(base, path, self.where)
        if self._root is not None:
            with store_faults(self.where):
                self._refuse_others(self._root)

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"file:{self._path}"

    def close(self) -> None:
        """Let go of the directory."""
        if self._root is not None:
            os.close(self._root)
            self._root = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the archive's lock; make the directory where there is none."""
        if self._root is None:
            self._root = create_root(self._base, self._path, self.where)
        root = self._root
        with store_faults(self.where):
            make_directory(root, TMP)
            lock = f"{self.where}/{OWN}/lock"
            with exclusive(root, where=lock, timeout=self._timeout, command="backup"):
                with directory(root, TMP) as tmp:
                    for name in os.listdir(tmp):
                        remove_tree(tmp, name)
                with suppress(FileExistsError):
                    put_if_absent(root, MARK, MARK_BYTES, _DOCUMENT, still_valid=lambda: None)
                yield

    def sizes(self) -> Mapping[Digest, int]:
        """Every object with its size."""
        found: dict[Digest, int] = {}
        with store_faults(f"{self.where}/objects"):
            objects = open_dir(self._opened(), "objects", self.where)
            if objects is None:
                return found
            try:
                for folder in os.listdir(objects):
                    if _FANOUT.fullmatch(folder):
                        with directory(objects, folder) as handle:
                            found.update(_objects(handle))
            finally:
                os.close(objects)
        return found

    def put(self, digest: Digest, chunks: Chunks) -> None:
        """Keep an object; what stands there in another size was damaged and is replaced."""
        root, name = self._opened(), digest.removeprefix("sha256:")
        folder = f"objects/{name[:2]}"
        temporary = unique_name()
        with store_faults(f"{self.where}/{folder}/{name}"):
            if folder not in self._touched:
                make_directory(root, folder)
                self._touched.add(folder)
            with directory(root, TMP) as tmp, directory(root, folder) as parent:
                hashed = hashlib.sha256()
                try:
                    create_synced(tmp, temporary, _hashing(chunks(), hashed.update))
                    if f"sha256:{hashed.hexdigest()}" != digest:
                        raise source_changed(digest, self.where)
                    failpoint("arc.object.before")
                    os.rename(temporary, name, src_dir_fd=tmp, dst_dir_fd=parent)
                    failpoint("arc.object.after")
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=tmp)

    def chunks(self, digest: Digest) -> Iterator[bytes] | None:
        """The bytes of an object as they stand there."""
        name = digest.removeprefix("sha256:")
        path = f"objects/{name[:2]}/{name}"
        handle = open_file(self._opened(), path, self.where)
        return None if handle is None else _read(handle, f"{self.where}/{path}")

    def settle(self) -> None:
        """Sync the directories that got objects."""
        root = self._opened()
        with store_faults(f"{self.where}/objects"):
            for folder in sorted(self._touched):
                with directory(root, folder) as handle:
                    failpoint("arc.object.dirsync")
                    os.fsync(handle)
        self._touched.clear()

    def names(self, folder: str) -> list[str]:
        """The names of the documents in a folder, sorted."""
        with store_faults(f"{self.where}/{folder}"):
            handle = open_dir(self._opened(), folder, self.where)
            if handle is None:
                return []
            try:
                return sorted(os.listdir(handle))
            finally:
                os.close(handle)

    def read(self, name: str, limit: int) -> bytes | None:
        """The bytes of a document."""
        return read_file(self._opened(), name, limit, self.where)

    def create(self, name: str, data: bytes) -> None:
        """Put a document if there is none."""
        root = self._opened()
        with store_faults(f"{self.where}/{name}"):
            make_directory(root, name.rpartition("/")[0])
            try:
                put_if_absent(root, name, data, _DOCUMENT, still_valid=lambda: None)
            except FileExistsError as error:
                raise taken(f"{self.where}/{name}") from error

    def replace(self, name: str, data: bytes) -> None:
        """Give a document new bytes at once."""
        root = self._opened()
        with store_faults(f"{self.where}/{name}"):
            make_directory(root, name.rpartition("/")[0])
            replace_file(root, name, data, _DOCUMENT, still_valid=lambda: None)

    def _opened(self) -> int:
        if self._root is None:
            raise no_archive_yet(self.where)
        return self._root

    def _refuse_others(self, root: int) -> None:
        names = set(os.listdir(root))
        if not names or MARK in names or names == {OWN}:
            if names == {OWN} and _stands(root, LEDGER):
                raise no_archive(self.where, "a store stands there")
            return
        if SERVER_CACHE in names:
            raise no_archive(self.where, "it is the cache of a server, which is disposable")
        raise no_archive(self.where, "it holds other things")


def no_archive(where: str, why: str) -> InvalidInput:
    """The refusal of a place that holds something else."""
    return InvalidInput.of(
        "E_ARCHIVE",
        f"this is no archive of backups: {why}",
        path=where,
        fix="name an empty place, or one that 'reconciler backup create' wrote to",
    )


def no_archive_yet(where: str) -> Unavailable:
    """The error of a place in which no archive was made."""
    return Unavailable.of(
        "E_ARCHIVE_MISSING",
        "there is no archive of backups",
        path=where,
        fix="name the place that 'reconciler backup create' wrote to",
    )


def source_changed(digest: Digest, where: str) -> Corrupt:
    """The error of bytes that are not those that were to be kept."""
    return Corrupt.of(
        "E_BACKUP_SOURCE",
        "bytes that are to be kept are not those of their digest (any more)",
        path=where,
        got=digest,
        fix="run it again with --deep, which reads everything anew",
    )


def taken(where: str) -> Conflict:
    """The refusal of a document that somebody else put first."""
    return Conflict.of("E_CONFLICT", "another backup took this number first", path=where, fix="run it again")


def _stands(root: int, path: str) -> bool:
    handle = open_dir(root, path)
    if handle is None:
        return False
    os.close(handle)
    return True


def _objects(handle: int) -> Iterator[tuple[Digest, int]]:
    with os.scandir(handle) as entries:
        for entry in entries:
            if _OBJECT.fullmatch(entry.name):
                seen = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode):
                    yield Digest(f"sha256:{entry.name}"), seen.st_size


def _hashing(chunks: Iterator[bytes], update: object) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)  # type: ignore[operator]
        yield chunk


def _read(handle: int, where: str) -> Iterator[bytes]:
    try:
        with store_faults(where):
            while chunk := os.read(handle, CHUNK):
                yield chunk
    finally:
        os.close(handle)
