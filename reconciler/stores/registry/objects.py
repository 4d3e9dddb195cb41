"""The bytes of manifests, under their hash: the port of object stores, and the local directory.

Decides how bytes are kept: created once and never overwritten, durable before anybody names them, and
compared with their hash whenever they are read. Whether a manifest exists is decided by its row in the
database; an object without a row is litter, a row without an object is corruption.

In a directory the key is the bare hash, as in the reference; temporary files stand below `.reconciler`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple, Protocol

from reconciler.canonical import sha256_hex
from reconciler.errors import Corrupt, LimitExceeded, Unavailable
from reconciler.failpoints import failpoint
from reconciler.reference import ManifestHash
from reconciler.stores.serving.durable import (
    TMP,
    Moments,
    directory,
    make_directory,
    put_if_absent,
    store_faults,
    store_time,
)

MANIFEST_LIMIT: Final = 16 << 20
_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MOMENTS = Moments(
    "reg.object.tmp.mid",
    "reg.object.fsync",
    "reg.object.cas",
    "reg.object.link.before",
    "reg.object.link.after",
    "reg.object.dirsync",
)


class StoredObject(NamedTuple):
    """One object: its key, its bytes' number, and when the store took it in, by the store's own clock."""

    hash: ManifestHash
    size: int
    stored_at: int


class Objects(Protocol):
    """A store of manifests' bytes."""

    @property
    def where(self) -> str:
        """Its place, for errors; never holds a secret."""

    def put(self, manifest: ManifestHash, content: bytes) -> None:
        """Keep these bytes; the same bytes a second time are fine.

        Raises:
            Corrupt: E_MANIFEST_HASH, other bytes stand under the key, or the bytes are not those of the hash.
            Unavailable: they could not be kept.
            OutcomeUnknown: no answer came, and looking gave none either.
        """

    def get(self, manifest: ManifestHash) -> bytes | None:
        """The bytes, compared with their hash; None if there is no such object.

        Raises:
            Corrupt: E_MANIFEST_HASH.
            Unavailable: they cannot be read.
        """

    def exists(self, manifest: ManifestHash) -> bool:
        """Whether an object stands under the key; its bytes are not read."""

    def delete(self, manifest: ManifestHash) -> None:
        """Remove an object; that it is gone already is fine."""

    def list(self) -> Iterator[StoredObject]:
        """All objects, in no order. Whatever else lies there is not listed."""

    def hashes(self) -> frozenset[ManifestHash]:
        """The hashes of all objects: what `list` says without sizes and times, for less."""

    def stored_at(self, manifest: ManifestHash) -> int | None:
        """When the store took the object in, in Unix seconds of its own clock; None if there is none."""

    def now(self) -> int:
        """The store's own clock, in Unix seconds; 0 where the store was not made yet."""

    def litter(self, grace: int) -> tuple[str, ...]:
        """What killed writers left there unnamed, unchanged for some seconds of the store's own clock."""

    def remove_litter(self, name: str) -> None:
        """Remove one piece of it; that it is gone already is fine."""

    def close(self) -> None:
        """Let go of everything that is held."""


def checked(manifest: ManifestHash, content: bytes, where: str) -> bytes:
    """The bytes, if they are those of the hash.

    Raises:
        Corrupt: E_MANIFEST_HASH.
    """
    found = sha256_hex(content)
    if found != manifest:
        raise Corrupt.of(
            "E_MANIFEST_HASH",
            f"the bytes kept under {manifest} are not those of this hash",
            path=where,
            got=found,
            fix="restore the object from a backup, or remove it and register the manifest again",
        )
    return content


def too_large(size: int, where: str) -> LimitExceeded:
    """The refusal of a manifest beyond the limit."""
    return LimitExceeded.of(
        "E_MANIFEST_SIZE", f"a manifest has at most {MANIFEST_LIMIT} bytes", path=where, got=str(size)
    )


def _make(path: str) -> None:
    """Make a directory and its parents where they are missing, each synced into its parent."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    _make(parent)
    with suppress(FileExistsError):
        os.mkdir(path)
    handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class LocalObjects:
    """Objects as files of one directory."""

    def __init__(self, directory: str) -> None:
        self._path = directory

    @property
    def where(self) -> str:
        """Its place, for errors."""
        return f"file:{self._path}"

    def put(self, manifest: ManifestHash, content: bytes) -> None:
        """Create the file durably; a file with the same bytes is fine."""
        if len(content) > MANIFEST_LIMIT:
            raise too_large(len(content), self.where)
        checked(manifest, content, self.where)
        if self.get(manifest) is not None:
            return
        with store_faults(self.where):
            failpoint("reg.object.before")
            _make(self._path)
            with self._root() as root:
                make_directory(root, TMP)
                with suppress(FileExistsError):
                    put_if_absent(root, manifest, content, _MOMENTS, still_valid=lambda: None)
                    return
        self.get(manifest)  # another writer was faster: its bytes are compared

    def get(self, manifest: ManifestHash) -> bytes | None:
        """The bytes, compared with their hash; None if there is no file."""
        with store_faults(f"{self.where}/{manifest}"):
            try:
                with self._root() as root:
                    handle = os.open(manifest, _READ, dir_fd=root)
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise self._not_plain(manifest)
            with os.fdopen(handle, "rb") as file:
                content = file.read(MANIFEST_LIMIT + 1)
        return checked(manifest, content, f"{self.where}/{manifest}")

    def exists(self, manifest: ManifestHash) -> bool:
        """Whether a file stands there."""
        return self.stored_at(manifest) is not None

    def stored_at(self, manifest: ManifestHash) -> int | None:
        """The file's time."""
        with store_faults(f"{self.where}/{manifest}"):
            try:
                with self._root() as root:
                    seen = os.stat(manifest, dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                return None
        if not stat.S_ISREG(seen.st_mode):
            raise self._not_plain(manifest)
        return int(seen.st_mtime)

    def delete(self, manifest: ManifestHash) -> None:
        """Remove the file durably."""
        with store_faults(f"{self.where}/{manifest}"), suppress(FileNotFoundError), self._root() as root:
            os.unlink(manifest, dir_fd=root)
            os.fsync(root)

    def list(self) -> Iterator[StoredObject]:
        """All files that are named by a hash."""
        with store_faults(self.where):
            try:
                with self._root() as root:
                    names = filter(_KEY.fullmatch, os.listdir(root))
                    found = [self._listed(root, ManifestHash(name)) for name in names]
            except FileNotFoundError:
                return
        yield from (one for one in found if one is not None)

    def hashes(self) -> frozenset[ManifestHash]:
        """The names of all files that are named by a hash."""
        with store_faults(self.where):
            try:
                with self._root() as root, os.scandir(root) as entries:
                    found = [
                        (entry, ManifestHash(entry.name)) for entry in entries if _KEY.fullmatch(entry.name)
                    ]
                    odd = next(
                        (name for entry, name in found if not entry.is_file(follow_symlinks=False)), None
                    )
            except FileNotFoundError:
                return frozenset()
        if odd is not None:
            raise self._not_plain(odd)
        return frozenset(name for _, name in found)

    def _listed(self, root: int, manifest: ManifestHash) -> StoredObject | None:
        try:
            seen = os.stat(manifest, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return None  # removed meanwhile
        if not stat.S_ISREG(seen.st_mode):
            raise self._not_plain(manifest)
        return StoredObject(manifest, seen.st_size, int(seen.st_mtime))

    def now(self) -> int:
        """The time that the file system gives a file without a name."""
        with store_faults(self.where):
            try:
                with self._root() as root:
                    return store_time(root, self.where)
            except FileNotFoundError:
                return 0

    def litter(self, grace: int) -> tuple[str, ...]:
        """Temporary files of puts that were killed."""
        with store_faults(self.where):
            try:
                with self._root() as root, directory(root, TMP) as tmp:
                    before = store_time(root, self.where) - grace
                    seen = {
                        name: os.stat(name, dir_fd=tmp, follow_symlinks=False) for name in os.listdir(tmp)
                    }
            except FileNotFoundError:
                return ()
        return tuple(sorted(name for name, one in seen.items() if max(one.st_mtime, one.st_ctime) < before))

    def remove_litter(self, name: str) -> None:
        """Remove one temporary file."""
        with (
            store_faults(self.where),
            suppress(FileNotFoundError),
            self._root() as root,
            directory(root, TMP) as tmp,
        ):
            os.unlink(name, dir_fd=tmp)

    def close(self) -> None:
        """Nothing is held between calls."""

    @contextmanager
    def _root(self) -> Iterator[int]:
        handle = os.open(self._path, _DIRECTORY)
        try:
            yield handle
        finally:
            os.close(handle)

    def _not_plain(self, manifest: ManifestHash) -> Unavailable:
        return Unavailable.of(
            "E_STORE_LINK",
            "what stands under this key is not a plain file",
            path=f"{self.where}/{manifest}",
            fix="an object store holds plain files only; remove it",
        )
