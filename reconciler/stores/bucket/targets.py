"""The places that receive copies of shards: a directory, a bucket, or the account itself as blobs.

A copy is named by the sha256 of its bytes. So a copy that was interrupted is simply made again, one that is
there is not, and two datasets with the same shard share it. The hash is compared while the bytes pass: what
is not what was planned is never put under the name.

Each place says how a record names what lies there: by an http address, where `url:` says where readers
find it; else by bucket and key, or by the path in a private network of one's own.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from reconciler.errors import InvalidInput, ReconcilerError
from reconciler.failpoints import failpoint
from reconciler.model import Shard, StoreConfig
from reconciler.stores.atproto.dagcbor import Data, Link, Record
from reconciler.stores.atproto.lexicon import BLOB_LIMIT, STORAGE_BLOBS
from reconciler.stores.atproto.shards import checksum, public_problem, storage_of
from reconciler.stores.bucket.reading import SHARD_LIMIT, Measured, ShardReader, check_hash
from reconciler.stores.bucket.s3 import S3Location
from reconciler.stores.port import Surroundings
from reconciler.stores.serving.durable import FILE_MODE, store_faults

TAR: Final = "application/x-tar"
_RAW: Final = b"\x01\x55\x12\x20"
"""CIDv1, raw bytes, sha2-256, 32 bytes: how a blob is named."""


class Copy(NamedTuple):
    """One shard that is to be copied: where it is and what it must be."""

    shard: Shard
    measured: Measured

    @property
    def name(self) -> str:
        """The name of the copy."""
        return f"{self.measured.sha256}.tar"


class Target(Protocol):
    """A place that receives copies."""

    @property
    def limit(self) -> int:
        """The most bytes that a copy may have."""

    def storage(self, measured: Sequence[Measured], *, where: str) -> Record:
        """How a record names the copies."""

    def receive(self, copy: Copy, reader: ShardReader) -> bool:
        """Copy one shard; false if it is there already.

        Raises:
            Corrupt: E_SHARD_HASH, the shard is not what was planned; nothing was put.
            Unavailable: the place cannot be written.
        """


def checked_pieces(copy: Copy, reader: ShardReader, limit: int) -> Iterator[bytes]:
    """The bytes of a shard; an error at their end if they are not what was planned.

    Raises:
        Corrupt: E_SHARD_HASH.
    """
    digest = sha256()
    for piece in reader.pieces(copy.shard.url, limit=limit):
        digest.update(piece)
        yield piece
    check_hash(Shard(copy.shard.url, copy.measured.sha256), digest.hexdigest())


def open_target(config: StoreConfig, surroundings: Surroundings, *, private: bool) -> Target:
    """The place that a `bucket` store names.

    Args:
        config: of kind `bucket`.
        surroundings: what may be known of the world.
        private: whether the account that names the copies is in a private network.

    Raises:
        InvalidInput: E_STORE_LOCATION, E_ENV, E_URL_PLAIN; E_URL_PRIVATE, a directory has no `url`.
    """
    root, base = str(config.settings["root"]), str(config.settings.get("url", "")).rstrip("/")
    if root.startswith("file:"):
        if not base and not private:
            raise InvalidInput.of(
                "E_URL_PRIVATE",
                f"readers cannot find copies in store {config.name}: it does not say at which URL they are",
                path=config.place.path,
                line=config.place.line,
                fix="add url: https://…",
            )
        return DirectoryTarget(surroundings.root / root.removeprefix("file:"), base)
    location = S3Location.of(config, surroundings.variables)
    endpoint = location.access.endpoint
    problem = (
        public_problem(f"{endpoint}/", allow_private=private, where="") if endpoint and not base else None
    )
    if problem is not None:
        raise InvalidInput(replace(problem, path=config.place.path, line=config.place.line))
    return BucketTarget(location, base)


@dataclass(frozen=True, slots=True)
class DirectoryTarget:
    """A directory; `base` is where a web server shows it, empty if none does."""

    directory: Path
    base: str
    limit: int = SHARD_LIMIT

    def storage(self, measured: Sequence[Measured], *, where: str) -> Record:
        """By URL; in a private network by path."""
        base = self.base or f"file://{self.directory.absolute()}"
        return storage_of([Shard(f"{base}/{one.sha256}.tar", one.sha256) for one in measured], where=where)

    def receive(self, copy: Copy, reader: ShardReader) -> bool:
        """Write beside the name, make it durable, then give it the name.

        The file beside it is locked and named after the content too: a second writer of the same shard waits,
        and what a killed one left is written over by the next.
        """
        with store_faults(str(self.directory)):
            self.directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return not _stands(handle, copy) and self._receive(handle, copy, reader)
            finally:
                os.close(handle)

    def _receive(self, handle: int, copy: Copy, reader: ShardReader) -> bool:
        beside = f".{copy.name}.part"
        part = _locked(handle, beside)
        try:
            if _stands(handle, copy):
                return False  # the writer that was waited for made it
            os.ftruncate(part, 0)
            for piece in checked_pieces(copy, reader, self.limit):
                failpoint("bucket.copy.mid")
                _write_all(part, piece)
            os.fsync(part)
            failpoint("bucket.copy.rename.before")
            os.rename(beside, copy.name, src_dir_fd=handle, dst_dir_fd=handle)
            os.fsync(handle)
        except ReconcilerError:
            with suppress(OSError):
                os.unlink(beside, dir_fd=handle)
            raise
        finally:
            os.close(part)
        return True


def _locked(handle: int, name: str) -> int:
    """A file of this name that no other writer has; one that was renamed or removed meanwhile is not it."""
    while True:
        part = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=handle)
        fcntl.flock(part, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=handle, follow_symlinks=False).st_ino == os.fstat(part).st_ino:
                return part
        os.close(part)


def _stands(handle: int, copy: Copy) -> bool:
    """Whether the copy is there, whole."""
    try:
        found = os.stat(copy.name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == copy.measured.size


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


@dataclass(frozen=True, slots=True)
class BucketTarget:
    """A bucket; `base` is where a web server shows it, empty if readers use S3."""

    location: S3Location
    base: str
    limit: int = SHARD_LIMIT

    def storage(self, measured: Sequence[Measured], *, where: str) -> Record:
        """By URL, or by bucket and key with the server that readers ask."""
        base = self.base or f"s3://{self.location.bucket}"
        keys = [
            self.location.key(f"{one.sha256}.tar") if not self.base else f"{one.sha256}.tar"
            for one in measured
        ]
        shards = [Shard(f"{base}/{key}", one.sha256) for key, one in zip(keys, measured, strict=True)]
        storage = storage_of(shards, where=where)
        if not self.base:
            storage["region"] = self.location.access.region
            if self.location.access.endpoint:
                storage["endpoint"] = self.location.access.endpoint
        return storage

    def receive(self, copy: Copy, reader: ShardReader) -> bool:
        """Put it, unless an object of its size is there under its name."""
        if self.location.size(copy.name) == copy.measured.size:
            return False
        self.location.put(copy.name, checked_pieces(copy, reader, self.limit))
        return True


class Uploader(Protocol):
    """An account that takes blobs."""

    def upload(self, content: bytes, media_type: str) -> Data:
        """Put a blob; returns the reference that a record holds."""


@dataclass(frozen=True, slots=True)
class BlobTarget:
    """The account itself. A blob is small, and stays only if a record refers to it soon."""

    account: Uploader
    limit: int = BLOB_LIMIT

    def storage(self, measured: Sequence[Measured], *, where: str) -> Record:  # noqa: ARG002 - the protocol's
        """By the CIDs of the blobs."""
        blobs: list[Data] = [
            {"blob": blob_reference(one), "checksum": checksum(one.sha256)} for one in measured
        ]
        return {"$type": STORAGE_BLOBS, "blobs": blobs}

    def receive(self, copy: Copy, reader: ShardReader) -> bool:
        """Upload it; what the server names must be what the record will."""
        content = b"".join(checked_pieces(copy, reader, self.limit))
        found = self.account.upload(content, TAR)
        if found != blob_reference(copy.measured):
            raise InvalidInput.of(
                "E_SHARD_FORMAT",
                "the server takes the shard for something else than a tar archive",
                got=str(found.get("mimeType")) if isinstance(found, dict) else None,
                fix="write the archive in the ustar format",
            )
        return True


def blob_reference(measured: Measured) -> Record:
    """How a record refers to a blob."""
    link = Link(_RAW + bytes.fromhex(measured.sha256))
    return {"$type": "blob", "ref": link, "mimeType": TAR, "size": measured.size}
